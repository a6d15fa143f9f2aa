"""Builds the image of the Dockerfile with buildah, without a registry of images.

    python -m tests.cluster.kubeflow.image imn:latest

The base is made here: a small Debian of this machine's release, and the Python of this environment.
Needs root, buildah and debootstrap.
"""

import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time

from tests.cluster.kubeflow.containers import BUILDAH
from tests.cluster.processes import ROOT

BASE = "localhost/imn-base:latest"
# Libraries of Python's own modules; a Python that was built here links to them.
_LIBRARIES = (
    "ca-certificates,libbz2-1.0,libexpat1,libffi8,liblzma5,libncursesw6,libreadline8,libsqlite3-0,"
    "libssl3,libuuid1,zlib1g"
)
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# How this machine fetches packages. A build sees these files; no image holds them, because an
# address may have a password.
_NETWORK = ("/etc/pip.conf", _CERTIFICATES)


def missing() -> str:
    """What this machine lacks to build an image, or ""."""
    if os.getuid():
        return "root"
    if pathlib.Path(sys.base_prefix) == pathlib.Path("/usr"):
        return "a Python in a folder of its own, such as pyenv's or uv's"
    return next((name for name in ("buildah", "debootstrap") if not shutil.which(name)), "")


def build_base() -> None:
    """Makes the image `BASE`: Debian, and the Python of this environment in /usr/local."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch, "root")
        libraries = f"--include={_LIBRARIES}"
        _run("debootstrap", "--variant=minbase", libraries, release, str(root))
        for folder in ("bin", "lib", "include", "share"):
            source = pathlib.Path(sys.base_prefix, folder)
            if source.exists():
                left_out = shutil.ignore_patterns("site-packages", "test", "__pycache__")
                target = root / "usr/local" / folder
                shutil.copytree(source, target, symlinks=True, ignore=left_out, dirs_exist_ok=True)
        _run("chroot", str(root), "ldconfig")
        _run("chroot", str(root), "/usr/local/bin/python3", "-m", "ensurepip", "--default-pip")
        name = _run(*BUILDAH, "from", "scratch")
        _run(*BUILDAH, "add", name, str(root), "/")
    options = ["--env", "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"]
    if os.path.exists(_CERTIFICATES):
        options += ["--env", f"SSL_CERT_FILE={_CERTIFICATES}"]
    _run(*BUILDAH, "config", *options, name)
    _run(*BUILDAH, "commit", "--rm", name, BASE)


def build(image: str) -> str:
    """Builds the Dockerfile on `BASE`, with the set of versions of this environment.

    Returns:
      the size of the image, in words.
    """
    stack = "reference" if sys.version_info < (3, 11) else "current"
    revision = _run("git", "-C", str(ROOT), "rev-parse", "HEAD")
    arguments = {"BASE": BASE, "STACK": stack, "REVISION": revision}
    options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    options += [f"--volume={file}:{file}:ro" for file in _NETWORK if os.path.exists(file)]
    _run(
        *BUILDAH, "bud", "--isolation=chroot", "--pull-never", *options, f"--tag={image}", str(ROOT)
    )
    return _run(*BUILDAH, "images", "--format={{.Size}}", image)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command[:6])} failed:\n{(done.stdout + done.stderr)[-3000:]}"
        )
    return done.stdout.strip()


if __name__ == "__main__":
    if lacking := missing():
        sys.exit(f"To build an image here, {lacking} is needed.")
    started = time.monotonic()
    build_base()
    built = time.monotonic()
    size = build(sys.argv[1])
    print(f"base: {built - started:.0f} s")  # noqa: T201
    print(f"{sys.argv[1]}: {time.monotonic() - built:.0f} s, {size}")  # noqa: T201
