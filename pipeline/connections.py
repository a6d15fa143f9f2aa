"""Connections of a run: metadata store and Beam options."""

from __future__ import annotations

import os
import shlex
import typing
import urllib.parse

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata as tfx_metadata

from pipeline.configs import Settings, SettingsError

if typing.TYPE_CHECKING:
    from tfx.orchestration.kubeflow.proto import kubeflow_pb2

_MYSQL_PORT = 3306


def metadata(settings: Settings, output: str) -> metadata_store_pb2.ConnectionConfig:
    """The metadata store: SQLite in `output`, or MySQL by the setting `metadata`.

    Raises:
      SettingsError: for an address that is not `mysql://user:password@host:port/database`.
    """
    if not settings.metadata:
        os.makedirs(output, exist_ok=True)
        return tfx_metadata.sqlite_metadata_connection_config(os.path.join(output, "metadata.db"))
    url = _mysql(settings.metadata)
    return tfx_metadata.mysql_metadata_connection_config(
        host=url.hostname,
        port=url.port or _MYSQL_PORT,
        database=url.path.strip("/"),
        username=urllib.parse.unquote(url.username or ""),
        password=urllib.parse.unquote(url.password or ""),
    )


def kubeflow_metadata(
    settings: Settings, password_variable: str
) -> kubeflow_pb2.KubeflowMetadataConfig | None:
    """MySQL by the setting `metadata`, for the steps of Kubeflow; None for the cluster's store.

    Args:
      settings: `metadata` must have no password, because everybody can read a package.
      password_variable: the variable of a step's environment that holds the password.

    Raises:
      SettingsError: as `metadata` does, and for a password.
    """
    if not settings.metadata:
        return None
    from tfx.orchestration.kubeflow.proto import kubeflow_pb2

    url = _mysql(settings.metadata)
    if url.password is not None:
        shown = settings.metadata.replace(f":{url.password}@", ":***@")
        raise SettingsError(
            "`metadata` must be without a password on Kubeflow, because all who see the package "
            f"could read it. Received: {shown!r}. Write mysql://user@host:port/database, and put "
            f"the password into the secret {settings.metadata_secret!r} (IMN_METADATA_SECRET), "
            "under the key `password`."
        )
    config = kubeflow_pb2.KubeflowMetadataConfig()
    config.mysql_db_service_host.value = url.hostname or ""
    config.mysql_db_service_port.value = str(url.port or _MYSQL_PORT)
    config.mysql_db_name.value = url.path.strip("/")
    config.mysql_db_user.value = urllib.parse.unquote(url.username or "")
    config.mysql_db_password.environment_variable = password_variable
    return config


def _mysql(address: str) -> urllib.parse.SplitResult:
    url = urllib.parse.urlsplit(address)
    if url.scheme != "mysql" or not (url.hostname and url.username and url.path.strip("/")):
        shown = address.replace(f":{url.password}@", ":***@")
        raise SettingsError(
            "`metadata` must read mysql://user:password@host:port/database, or be empty. "
            f"Received: {shown!r}."
        )
    return url


def beam_args(settings: Settings, root: str) -> list[str]:
    """Options of every Beam job: by default in this process, or on the runner in `beam_args`.

    Args:
      settings: `beam_args` is a command line such as
        `--runner=FlinkRunner --flink_master=host:8081`.
      root: folder of the project, whose setup.py brings the code to workers of other runners.
    """
    options = shlex.split(settings.beam_args)
    if any(arg.startswith("--runner") for arg in options):
        return [f"--setup_file={os.path.join(root, 'setup.py')}", *options]
    # In memory, because Beam's newer default for local jobs starts another process.
    return ["--runner=DirectRunner", "--direct_running_mode=in_memory", *options]
