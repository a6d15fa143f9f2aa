"""What a run is wired to: the metadata store and the runner of its Beam jobs."""

import os
import shlex
import urllib.parse

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata as tfx_metadata

from pipeline.configs import Settings, SettingsError

_MYSQL_PORT = 3306


def metadata(settings: Settings, output: str) -> metadata_store_pb2.ConnectionConfig:
    """The metadata store: SQLite under `output`, or the MySQL that the setting names.

    Raises:
      SettingsError: for an address that is not `mysql://user:password@host:port/database`.
    """
    if not settings.metadata:
        os.makedirs(output, exist_ok=True)
        return tfx_metadata.sqlite_metadata_connection_config(os.path.join(output, "metadata.db"))
    url = urllib.parse.urlsplit(settings.metadata)
    if url.scheme != "mysql" or not (url.hostname and url.username and url.path.strip("/")):
        shown = settings.metadata.replace(f":{url.password}@", ":***@")
        raise SettingsError(
            "`metadata` must read mysql://user:password@host:port/database, or be empty for "
            f"SQLite. Received: {shown!r}."
        )
    return tfx_metadata.mysql_metadata_connection_config(
        host=url.hostname,
        port=url.port or _MYSQL_PORT,
        database=url.path.strip("/"),
        username=urllib.parse.unquote(url.username),
        password=urllib.parse.unquote(url.password or ""),
    )


def beam_args(settings: Settings, root: str) -> list[str]:
    """Options of every Beam job: in this process by default, or the runner the setting names.

    Args:
      settings: `beam_args` is a command line such as
        `--runner=FlinkRunner --flink_master=host:8081`.
      root: the project's folder: another runner's workers get the code through
        its setup.py.
    """
    given = shlex.split(settings.beam_args)
    if any(arg.startswith("--runner") for arg in given):
        return [f"--setup_file={os.path.join(root, 'setup.py')}", *given]
    # In memory: Beam's newer default for a local job is another process to start and to trust.
    return ["--runner=DirectRunner", "--direct_running_mode=in_memory", *given]
