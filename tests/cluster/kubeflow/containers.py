"""Starts the command of a step: in a container of the image, or as a process."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

# Not in overlayfs, which needs a kernel that lets containers mount it.
BUILDAH = ("buildah", "--storage-driver", "vfs")
# What a pod has anew: with one container for all steps, the folders that its user can write.
_FRESH = ("/tmp", "/home/imn")


@dataclasses.dataclass(frozen=True)
class Pod:
    """What a container is started with.

    Attributes:
      command: the command and its arguments.
      environment: its variables.
      mounts: the folders of the volumes, by the path inside.
      security: the pod's security context: the user, and the group of the volumes.
      log: the file of its output.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    mounts: Mapping[str, pathlib.Path]
    security: Mapping[str, int]
    log: pathlib.Path


class Containers(Protocol):
    """What starts pods."""

    def start(self, pod: Pod) -> contextlib.AbstractContextManager[subprocess.Popen]:
        """Starts a pod's command; a context manager of its process."""


class Container:
    """One container of an image, by buildah; each step gets fresh folders in it.

    Args:
      name: of buildah's working container.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @contextlib.contextmanager
    def start(self, pod: Pod) -> Iterator[subprocess.Popen]:
        """Starts a pod's command, without capabilities; a context manager of its process."""
        user, group = pod.security["runAsUser"], pod.security["runAsGroup"]
        for folder in pod.mounts.values():
            _give(folder, pod.security["fsGroup"])
        with tempfile.TemporaryDirectory() as scratch:
            options = ["--isolation", "chroot", "--user", f"{user}:{group}", "--cap-drop", "all"]
            for inside, folder in pod.mounts.items():
                options += ["--volume", f"{folder}:{inside}"]
            for inside in _FRESH:
                fresh = pathlib.Path(scratch, inside.strip("/").replace("/", "-"))
                fresh.mkdir()
                os.chown(fresh, user, group)
                options += ["--volume", f"{fresh}:{inside}"]
            for name, value in pod.environment.items():
                options += ["--env", f"{name}={value}"]
            command = [*BUILDAH, "run", *options, self._name, "--", *pod.command]
            yield _process(command, dict(os.environ), pod.log)


def _give(folder: pathlib.Path, group: int) -> None:
    """Gives a volume to the group `fsGroup`, as Kubernetes does if its top has another one."""
    if folder.stat().st_gid != group:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, -1, group)
            path.chmod(path.stat().st_mode | (0o2770 if path.is_dir() else 0o660))


@contextlib.contextmanager
def from_image(image: str) -> Iterator[Container]:
    """A container of an image, which is removed at the end."""
    done = subprocess.run(
        [*BUILDAH, "from", "--pull-never", image], check=True, capture_output=True, text=True
    )
    name = done.stdout.strip()
    try:
        yield Container(name)
    finally:
        subprocess.run([*BUILDAH, "rm", name], check=False, capture_output=True)


def remove(*images: str) -> None:
    """Removes images."""
    subprocess.run([*BUILDAH, "rmi", "--force", *images], check=False, capture_output=True)


class Environment:
    """The environment of this Python instead of an image: its user, all its files."""

    @contextlib.contextmanager
    def start(self, pod: Pod) -> Iterator[subprocess.Popen]:
        """Starts a pod's command; a context manager of its process.

        Raises:
          ValueError: for a volume that does not lie where a container would see it.
        """
        for inside, folder in pod.mounts.items():
            if pathlib.Path(inside) != folder:
                raise ValueError(f"Without a container, {inside} cannot be {folder}.")
        own = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        own["PATH"] = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own["TF_USE_LEGACY_KERAS"] = "1"
        program = shutil.which(pod.command[0], path=own["PATH"]) or pod.command[0]
        yield _process([program, *pod.command[1:]], own | pod.environment, pod.log)


def _process(
    command: Sequence[str], environment: Mapping[str, str], log: pathlib.Path
) -> subprocess.Popen:
    with log.open("w") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=log.parent,
            start_new_session=True,
        )
