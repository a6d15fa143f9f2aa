"""The server that the tests of serving/ share, for the recommend command too."""

from tests.serving.conftest import running  # noqa: F401
