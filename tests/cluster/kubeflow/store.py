"""A MariaDB on loopback with a data folder of its own: the metadata store of a run."""

import contextlib
import getpass
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

from tests.cluster.processes import Processes, free_port

# Debian has the server outside the PATH of users.
SERVER = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def mariadb(folder: pathlib.Path, user: str, password: str, database: str) -> Iterator[int]:
    """Runs a server with one database and one user, who needs the password.

    Yields:
      its port on 127.0.0.1.
    """
    assert SERVER
    folder.mkdir(parents=True)
    where = ["--no-defaults", f"--datadir={folder / 'data'}", f"--user={getpass.getuser()}"]
    install = ["mariadb-install-db", *where, "--auth-root-authentication-method=normal"]
    # Its anonymous user would be taken before a user of any host.
    subprocess.run([*install, "--skip-test-db"], check=True, capture_output=True)
    setup = folder / "setup.sql"
    setup.write_text(
        f"CREATE DATABASE {database};\n"
        f"CREATE USER '{user}'@'%' IDENTIFIED BY '{password}';\n"
        f"GRANT ALL ON {database}.* TO '{user}'@'%';\n"
    )
    port = free_port()
    address = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder / 'socket'}"]
    with Processes(folder) as running:
        running.start("mariadb", [SERVER, *where, *address, f"--init-file={setup}"], port)
        yield port
