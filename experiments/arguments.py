"""The arguments that the benchmarks of models share."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable

from experiments import samples
from pipeline.configs import PREFIX, RECIPE, Settings
from pipeline.errors import InputError


def parser(documentation: str | None, one_length: bool = True) -> argparse.ArgumentParser:
    """A parser with the shared arguments; a benchmark adds its own."""
    made = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--ratings", required=True, help="file or glob of ratings, any layout")
    if one_length:
        made.add_argument("--max-history-length", type=positive, help="L")
    made.add_argument("--output", default="bench_out", help="folder of results and finished cells")
    made.add_argument(
        "--cache", default="bench_out/cache", help="folder of samples and unfinished trainings"
    )
    made.add_argument("--jobs", type=positive, default=1, help="cells trained at once")
    return made


def positive(text: str) -> int:
    """A whole number of 1 and more, for an argument.

    Raises:
      ValueError, ArgumentTypeError: for anything else; argparse makes a line of it.
    """
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more. Received: {text}")
    return int(text)


def settings(given: argparse.Namespace, recipe: bool = True) -> Settings:
    """The settings of the table: `IMN_<FIELD>` of the environment, then the arguments.

    Makes the folder of results as well, so that nothing is trained in vain.

    Args:
      given: the arguments.
      recipe: whether fields of the recipe may be set, for all systems alike.

    Raises:
      InputError: where a setting is wrong, or nothing here would heed it.
    """
    chosen = Settings.from_environment(os.environ)
    changed = {
        field.name
        for field in dataclasses.fields(chosen)
        if getattr(chosen, field.name) != field.default
    }
    heeded = samples.setting_names() | {"ratings", *(RECIPE if recipe else ())}
    if not hasattr(given, "max_history_length"):
        heeded -= {"max_history_length"}
    if ignored := sorted(changed - heeded):
        raise InputError(
            f"`{ignored[0]}` of the environment has no effect here. "
            f"Unset {PREFIX}{ignored[0].upper()}; it would stand in the printed command."
        )
    chosen = dataclasses.replace(chosen, ratings=given.ratings)
    if getattr(given, "max_history_length", None) is not None:
        chosen = dataclasses.replace(chosen, max_history_length=given.max_history_length)
    os.makedirs(given.output, exist_ok=True)
    return chosen


def run(main: Callable[[], None]) -> None:
    """Runs a benchmark; a user's mistake ends it with status 2 and a line of reason."""
    try:
        main()
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
