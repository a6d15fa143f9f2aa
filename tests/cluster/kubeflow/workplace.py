"""A folder with what a package needs of a cluster: store, secret, volume; and the compilation."""

import contextlib
import dataclasses
import os
import pathlib
import secrets
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from tests.cluster.kubeflow import containers, package, run, store
from tests.cluster.processes import ROOT

# The defaults of `metadata_secret` and `volume_claim`.
_SECRET, _CLAIM = "imn-metadata", "imn"
_MOUNT = "/mnt/imn"


@dataclasses.dataclass
class Workplace:
    """Compiles the pipeline for the cluster that it holds.

    Attributes:
      storage: the folder behind the volume claim.
      cluster: runs a package.
      store: host, port, database, user and password of the metadata store.
    """

    storage: pathlib.Path
    cluster: run.Cluster
    store: dict[str, Any]
    _settings: dict[str, str]
    _folder: pathlib.Path

    def compiled(self, **settings: str) -> package.Workflow:
        """The package by the command of the README, with further settings `IMN_...`.

        Those of this place (storage, store, image) stay.
        """
        environment = {k: v for k, v in os.environ.items() if not k.startswith("IMN_")}
        subprocess.run(
            [sys.executable, str(ROOT / "kubeflow_runner.py")],
            cwd=self._folder,
            env=environment | settings | self._settings | {"PYTHONWARNINGS": "ignore"},
            check=True,
            capture_output=True,
        )
        (written,) = self._folder.glob("*.tar.gz")
        return package.read(written)


@contextlib.contextmanager
def workplace(folder: pathlib.Path, image: str = "") -> Iterator[Workplace]:
    """A store, a secret with its password, and an empty volume, in an empty folder.

    Args:
      folder: may be absent.
      image: of buildah; "" runs the steps as processes of this environment.
    """
    storage, password = folder / "storage", secrets.token_hex(8)
    storage.mkdir(parents=True)
    settings = {
        "IMN_STORAGE_ROOT": _MOUNT if image else str(storage),
        "IMN_VOLUME_CLAIM": _CLAIM,
        "IMN_METADATA_SECRET": _SECRET,
    } | ({"IMN_IMAGE": image} if image else {})
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(store.mariadb(folder / "store", "imn", password, "imn"))
        settings["IMN_METADATA"] = f"mysql://imn@127.0.0.1:{port}/imn"
        where: containers.Containers = containers.Environment()
        if image:
            where = stack.enter_context(containers.from_image(image))
        cluster = run.Cluster(
            where, {_CLAIM: storage}, {_SECRET: {"password": password}}, folder / "logs"
        )
        account = {"host": "127.0.0.1", "port": port, "database": "imn", "user": "imn"}
        yield Workplace(storage, cluster, account | {"password": password}, settings, folder)
