"""Command-line arguments that the experiments share."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable

from experiments.sampling import samples
from pipeline.configs import PREFIX, RECIPE, Settings
from pipeline.errors import InputError


def parser(documentation: str | None, one_length: bool = True) -> argparse.ArgumentParser:
    """A parser with the shared arguments; each experiment adds its own."""
    result = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--ratings", required=True, help="file or glob of ratings, any layout")
    if one_length:
        result.add_argument("--max-history-length", type=positive, help="L")
    result.add_argument(
        "--output", default="bench_out", help="folder for results and finished runs"
    )
    result.add_argument(
        "--cache", default="bench_out/cache", help="folder for samples and unfinished runs"
    )
    result.add_argument("--jobs", type=positive, default=1, help="number of runs in parallel")
    return result


def positive(text: str) -> int:
    """The type of an argument that must be an integer of 1 or more.

    Raises:
      ValueError, ArgumentTypeError: for anything else; argparse prints it as one line.
    """
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more. Received: {text}")
    return int(text)


def settings(args: argparse.Namespace, recipe: bool = True) -> Settings:
    """The settings of an experiment: `IMN_<FIELD>` of the environment, then the arguments.

    Also creates the output folder, so that a wrong path is found before any training.

    Args:
      args: the parsed arguments.
      recipe: whether fields of the training config may be set, for all models alike.

    Raises:
      InputError: if a setting is wrong, or if it has no effect in this experiment.
    """
    chosen = Settings.from_environment(os.environ)
    changed = {
        field.name
        for field in dataclasses.fields(chosen)
        if getattr(chosen, field.name) != field.default
    }
    used = samples.setting_names() | {"ratings", *(RECIPE if recipe else ())}
    if not hasattr(args, "max_history_length"):
        used -= {"max_history_length"}
    if ignored := sorted(changed - used):
        raise InputError(
            f"`{PREFIX}{ignored[0].upper()}` is set but not used by this command. "
            "Unset it; otherwise the recorded command would be misleading."
        )
    chosen = dataclasses.replace(chosen, ratings=args.ratings)
    if getattr(args, "max_history_length", None) is not None:
        chosen = dataclasses.replace(chosen, max_history_length=args.max_history_length)
    os.makedirs(args.output, exist_ok=True)
    return chosen


def run(main: Callable[[], None]) -> None:
    """Runs an experiment; a mistake of the user ends it with status 2 and one line."""
    try:
        main()
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
