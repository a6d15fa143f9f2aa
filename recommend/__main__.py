"""Prints the best items for a user, and the history events with the largest attention weights.

    make recommend ID=USER

asks the newest pushed model; `--server` asks a server instead. The history comes from the ratings
that the model was trained on, or from RATINGS. The request has the time of the newest rating. The
model searches its whole catalogue for items that the user has not rated. With `--candidates`, and
for a model without a first stage, it ranks candidates.
"""

import argparse
import datetime
import difflib
import itertools
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

# Silences TensorFlow's import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
warnings.simplefilter("ignore", FutureWarning)  # Libraries warn about old Python versions.

import numpy as np  # noqa: E402

from pipeline.configs import Settings, serving_name  # noqa: E402
from pipeline.errors import InputError  # noqa: E402
from recommend import attributes, behind, best_items, connection, titles  # noqa: E402
from serving import VERSION, registry, versions  # noqa: E402
from transforms import item_table  # noqa: E402

_FREQUENT = "1000"  # candidates of a model without a first stage
_TOP_EVENTS = 3  # events shown for each pass
_TITLE_CHARACTERS = 60  # longer titles are cut


def main(argv: list[str] | None = None) -> int:
    """Runs the command line. Returns the exit status: 2 for a mistake of the user."""
    arguments = _parser().parse_args(argv)
    try:
        for line in recommend(arguments, Settings.from_environment(os.environ)):
            sys.stdout.write(line + "\n")
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def recommend(arguments: argparse.Namespace, settings: Settings) -> Iterator[str]:
    """Yields the lines of the answer.

    Raises:
      InputError: if the user, model, ratings, candidates or titles are missing, if the model does
        not load, or if it knows no item of the user's history.
    """
    if not arguments.user:
        raise InputError("No user given. Usage: make recommend ID=USER, with an id of the ratings.")
    if arguments.top < 1:
        raise InputError(f"`--top` must be at least 1. Received: {arguments.top}.")
    name, version = _pushed(arguments.output, settings)
    folder = os.path.join(arguments.output, "serving_model", name, str(version))
    settings = behind.settings(settings, arguments.output, folder)
    from recommend import user_history  # imports TensorFlow

    history = user_history.read(settings, arguments.user)
    known = _known_events(history, folder, arguments.user, settings.ratings)
    predict, signatures, model = connection.connect(folder, name, arguments.server)
    if "recommend_filtered" in signatures and not arguments.candidates:
        _check_values(arguments.only, folder)
        best = best_items.of_catalogue(
            predict, history, arguments.top, history.rated, arguments.only
        )
    elif arguments.only:
        raise InputError(
            f"`--only` must go without `--candidates`, and to a model with a first stage. "
            f"Received: {' '.join(arguments.only)}."
        )
    else:
        candidates = _candidates(arguments.candidates or _FREQUENT, folder, history.rated)
        best = best_items.of_candidates(predict, history, arguments.top, candidates)
    items = best.items
    weights = np.zeros((0, len(items), 0))
    known_attributes: dict[bytes, bytes] = {}
    if "explain" in signatures and history.items and items:
        weights, known_attributes = best_items.explained(predict, history, items)
    ids = {_text(item) for item in (*items, *history.items)}
    names, described, unreadable = attributes.read(folder, ids)
    if unreadable:
        described = {_text(item): _text(about) for item, about in known_attributes.items()}
    if arguments.titles:
        names = titles.read(arguments.titles, ids)

    def label(item: bytes) -> str:
        title = names.get(_text(item), "")[:_TITLE_CHARACTERS]
        about = described.get(_text(item), "")
        return "  ".join(part for part in (_text(item), title, about and f"({about})") if part)

    yield f"{arguments.user}: {_summary(history, known)}, as of {_day(history.newest)}."
    yield f"{model} ranked {best.of} that this user has not rated:"
    yield ""
    yield "rank   score  first stage  item"
    for rank, item in enumerate(items, 1):
        place = best.places[rank - 1]
        yield f"{rank:>4}  {best.scores[rank - 1]:.4f}  {place or '-':>11}  {label(item)}"
        for number, row in enumerate(weights[:, rank - 1], 1):
            largest = [j for j in np.argsort(-np.abs(row), kind="stable")[:_TOP_EVENTS] if row[j]]
            events = "; ".join(f"{row[j]:.3f} {label(history.items[j])}" for j in largest)
            yield f"              pass {number}, mean {row.mean():.3f}: {events}"
    yield ""
    if any(best.places):
        yield (
            "A score is the probability of an item against a sampled negative. The order also "
            "weighs how often people choose the item, and its cosine in the first stage."
        )
    if len(weights):
        yield (
            "A pass lists the history events with the largest attention weights, after the mean "
            "of all events: a weight far above it is an event that counted for this item."
        )
    elif history.items:
        yield "This model has no attention weights, so it cannot show which events counted most."
    if unreadable and described:
        yield f"Attributes are those that the model has; the catalogue cannot be read: {unreadable}"
    elif unreadable:
        yield f"Attributes cannot be shown: {unreadable}"
    if arguments.titles and len(names) < len(ids):
        yield (
            f"{arguments.titles} has titles for {len(names):,} of the {len(ids):,} items of the "
            "history and the list."
        )


def _known_events(history: Any, folder: str, user: str, ratings: str) -> int:
    """How many events have an item in the vocabulary of the model.

    Raises:
      InputError: if the vocabulary cannot be read, or if the history has events and the model knows
        none of them.
    """
    wanted = set(history.items)
    try:
        with open(behind.vocabulary(folder), "rb") as file:
            known = wanted.intersection(line.rstrip(b"\r\n") for line in file)
    except OSError as error:
        raise behind.unusable(folder, "have a vocabulary", error) from None
    count = sum(item in known for item in history.items)
    if history.items and not count:
        raise InputError(
            f"The model must know an item of the user's history. Received: user {user!r} of "
            f"{ratings}, whose {len(history.items):,} events have no item in the vocabulary of "
            f"{folder}. Set OUTPUT= to the run of these ratings, or RATINGS= to those of this run."
        )
    return count


def _pushed(output: str, settings: Settings) -> tuple[str, int]:
    """Name and newest version of the pushed model."""
    root, name = os.path.join(output, "serving_model"), serving_name(settings)
    try:
        pushed = registry.names(root)
        found = versions.versions(os.path.join(root, name))
    except OSError as error:
        raise InputError(f"The pushed models must be readable. {error}") from None
    if name not in pushed:
        hint = f" Pushed: {', '.join(pushed)}; choose with MODEL=." if pushed else ""
        raise InputError(
            f"{root} has no pushed model `{name}`.{hint} `make run` pushes a model; set OUTPUT= to "
            "its output folder."
        )
    return name, max(found)


def _candidates(source: str, folder: str, rated: frozenset[bytes]) -> list[bytes]:
    """Ids that the user has not rated, from a file or the `source` most frequent of training."""
    path, count = source, None
    if source.isdecimal():
        path, count = behind.vocabulary(folder), int(source)
    try:
        with open(path, "rb") as file:
            lines = (line.rstrip(b"\r\n") for line in file)
            new = (line for line in lines if line and line not in rated)
            items = list(dict.fromkeys(itertools.islice(new, count)))
    except OSError as error:
        raise InputError(
            f"`--candidates` must be a number or a file of ids. Received: {source} "
            f"({error.strerror}: {path})."
        ) from None
    if not items:
        raise InputError(
            f"`--candidates` must include an item that the user has not rated. Received: {source} "
            f"(ids from {path})."
        )
    return items


def _check_values(only: list[str], folder: str) -> None:
    """Refuses a field or a value that the model's catalogue does not have."""
    table = item_table.described(os.path.join(folder, item_table.IN_EXPORT)) if only else None
    fields = {
        field.name: number
        for number, field in enumerate(table.fields if table else ())
        if field.kind == "category"
    }
    for text in only:
        name, equals, value = text.partition("=")
        if not equals or name not in fields:
            raise InputError(
                "`--only` must be FIELD=VALUE with a category of the model's catalogue. Received: "
                f"{text}. Fields: {', '.join(fields) or 'none'}."
            )
        file = os.path.join(folder, "assets", item_table.vocabulary_name(fields[name]))
        try:
            with open(file, encoding="utf-8") as lines:
                known = [line.rstrip("\n") for line in lines]
        except OSError as error:
            raise behind.unusable(folder, f"have the values of {name!r}", error) from None
        if value not in known:
            near = ", ".join(difflib.get_close_matches(value, known, n=3)) or ", ".join(known[:3])
            raise InputError(
                f"`--only` must name a value of {name!r} in the model's catalogue. Received: "
                f"{value!r}. For instance: {near}."
            )


def _summary(history: Any, known: int) -> str:
    if not history.items:
        return "no event that training would read"
    return (
        f"{len(history.items):,} events, {known:,} of them with an item that the model knows, the "
        f"newest of {_day(history.times[-1])}"
    )


def _day(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).date().isoformat()


def _text(item: bytes) -> str:
    return item.decode("utf-8", "backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recommend",
        description="Prints the best items for a user, and the events that counted most.",
    )
    add = parser.add_argument
    add("--version", action="version", version=VERSION)
    add("user", help="user id, as in the ratings")
    add("--output", default="runs", help="output folder of the run")
    add(
        "--candidates",
        default="",
        help="how many of the most frequent items, or a file of ids; default: the whole catalogue",
    )
    add(
        "--only",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="an attribute that items must have, e.g. 'category=Hair Care'; several: one of them",
    )
    add("--top", type=int, default=10, help="number of items to print")
    add("--titles", help="Amazon's metadata (JSON lines), or CSV with a header; plain or gzip")
    add("--server", default="", help="HOST:PORT of a gRPC server; default: load the model here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
