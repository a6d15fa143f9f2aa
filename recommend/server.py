"""The embedded server, with the users and items of the ratings on its page.

    make serve

Like `python -m serving.server`; the page also finds users and items.
"""

import argparse
import os
import sys

# Silences TensorFlow's import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pipeline.configs import Settings
from pipeline.errors import InputError
from serving import server
from serving.page.data import PageData


def main(argv: list[str] | None = None) -> int:
    """Serves until a signal. Returns the exit status: 2 for a mistake of the user."""
    parser = server.command_line("python -m recommend.server")
    parser.add_argument(
        "--titles",
        default="",
        help="for the page: Amazon's metadata (JSON lines), or CSV with a header; plain or gzip",
    )
    try:
        settings = Settings.from_environment(os.environ)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2

    def page_data(arguments: argparse.Namespace) -> PageData:
        from recommend.page_data import RatingsPageData  # imports TensorFlow

        return RatingsPageData(arguments.models, settings, arguments.titles)

    return server.main(argv, parser, page_data)


if __name__ == "__main__":
    sys.exit(main())
