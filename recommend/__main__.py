"""The best items for a user of the ratings file, and what in the history spoke for them.

    make recommend USER=ID

asks the newest pushed model, without a server unless one is named. The ratings
are those that the model came from, or RATINGS. The request is made as of the
newest rating of the file. Candidates are the most frequent items of training
that the user has not had.
"""

import argparse
import dataclasses
import datetime
import itertools
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

# Before TensorFlow is imported: less noise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
warnings.simplefilter("ignore", FutureWarning)  # of libraries, about Python's age

import numpy as np  # noqa: E402

from pipeline.configs import Settings, serving_name  # noqa: E402
from pipeline.errors import InputError  # noqa: E402
from recommend import titles  # noqa: E402
from serving import registry, versions  # noqa: E402
from transforms import features  # noqa: E402

# Candidates of a request: weights are an answer as large as the history for each.
_AT_ONCE = {"rank": 1_000, "explain": 20}
_REASONS = 3  # events shown of a pass
_TITLE = 60  # characters of a title that are shown
# Gives the outputs of a signature for its inputs.
Ask = Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]]


def main(argv: list[str] | None = None) -> int:
    """Recommends for the command line; gives the exit status, 2 for a user's mistake."""
    arguments = _parser().parse_args(argv)
    try:
        for line in recommend(arguments, Settings.from_environment(os.environ)):
            sys.stdout.write(line + "\n")
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def recommend(arguments: argparse.Namespace, settings: Settings) -> Iterator[str]:
    """The lines of the answer.

    Raises:
      InputError: for what is missing or unknown, and what to do about it.
    """
    if not arguments.user:
        raise InputError("Whose items? Name a user of the ratings: make recommend USER=ID.")
    if arguments.top < 1:
        raise InputError(f"`--top` must be at least 1. Received: {arguments.top}.")
    name, version = _pushed(arguments.output, settings)
    folder = os.path.join(arguments.output, "serving_model", name, str(version))
    settings = _with_ratings(settings, arguments.output, folder)
    from recommend import user_history  # TensorFlow comes with it

    history = user_history.read(settings, arguments.user)
    candidates = _candidates(arguments.candidates, folder, history.had)
    ask, signatures, asked = _model(folder, name, arguments.server)

    def answers(signature: str, output: str, items: list[bytes]) -> list[np.ndarray]:
        size = _AT_ONCE[signature]
        parts = [items[i : i + size] for i in range(0, len(items), size)]
        return [ask(signature, _inputs(history, part))[output][0] for part in parts]

    scores = np.concatenate(answers("rank", "scores", candidates))
    best = np.argsort(-scores, kind="stable")[: arguments.top]
    shown = [candidates[place] for place in best]
    weights = np.zeros((0, len(shown), 0))
    if "explain" in signatures and history.items:
        weights = np.concatenate(answers("explain", "attention", shown), axis=1)
    names = {}
    if arguments.titles:
        wanted = {_text(item) for item in (*shown, *history.items)}
        names = titles.read(arguments.titles, wanted)

    def label(item: bytes) -> str:
        title = names.get(_text(item), "")[:_TITLE]
        return f"{_text(item)}  {title}" if title else _text(item)

    yield f"{arguments.user}: {_told(history)}, as of {_day(history.newest)}."
    yield f"{asked} ranked {len(candidates):,} items that this user has not had:"
    yield ""
    yield "rank   score  item"
    for rank, (place, item) in enumerate(zip(best, shown, strict=True), 1):
        yield f"{rank:>4}  {scores[place]:.4f}  {label(item)}"
        for number, own in enumerate(weights[:, rank - 1], 1):
            heaviest = [j for j in np.argsort(-np.abs(own), kind="stable")[:_REASONS] if own[j]]
            read = "; ".join(f"{own[j]:.3f} {label(history.items[j])}" for j in heaviest)
            yield f"              pass {number}: {read}"
    yield ""
    if len(weights):
        yield "A pass lists the events of the history that weighed most, with their weights."
    elif history.items:
        yield "This model has no attention weights: it cannot say which events weighed most."


def _inputs(history: Any, items: list[bytes]) -> dict[str, np.ndarray]:
    return {
        features.HISTORY_ITEM: np.array([history.items], object),
        features.HISTORY_TIME: np.array([history.times], np.int64),
        features.HISTORY_LENGTH: np.array([len(history.items)], np.int64),
        "request_time": np.array([history.newest], np.int64),
        "candidates": np.array([items], object),
    }


def _pushed(output: str, settings: Settings) -> tuple[str, int]:
    """Name and newest version of the model that is asked."""
    root, name = os.path.join(output, "serving_model"), serving_name(settings)
    found = registry.names(root)
    if name not in found:
        hint = f" There is {', '.join(found)}: name one with MODEL=." if found else ""
        raise InputError(
            f"There is no pushed model `{name}` under {root}.{hint} `make run` pushes one; "
            "OUTPUT= says where it did."
        )
    return name, max(versions.versions(os.path.join(root, name)))


def _with_ratings(settings: Settings, output: str, folder: str) -> Settings:
    """Settings whose ratings are the given ones, or those that the pushed model came from."""
    if settings.ratings:
        return settings
    from pipeline import connections
    from pipeline.local import lineage

    known = None
    if settings.metadata or os.path.exists(os.path.join(output, "metadata.db")):
        known = lineage.ingestion_behind(connections.metadata(settings, output), folder)
    if known is None:
        raise InputError(
            f"Which ratings {folder} came from is not known here: name them with RATINGS=."
        )
    read = ("ratings", "layout", "min_rating", "sampling_seed")
    return dataclasses.replace(settings, **{name: known[name] for name in read})


def _candidates(given: str, folder: str, had: frozenset[bytes]) -> list[bytes]:
    """Ids that the user has not had: of a file, or so many of the most frequent in training."""
    known = os.path.join(folder, "assets", features.ITEM_VOCABULARY)
    path, count = (known, int(given)) if given.isdecimal() else (given, None)
    try:
        with open(path, "rb") as file:
            lines = (line.rstrip(b"\r\n") for line in file)
            new = (line for line in lines if line and line not in had)
            items = list(dict.fromkeys(itertools.islice(new, count)))
    except OSError as error:
        raise InputError(
            f"`--candidates` must be a number or a file of ids. Received: {given} "
            f"({error.strerror}: {path})."
        ) from None
    if not items:
        raise InputError(f"There is nothing to rank: {path} names no item that is new to the user.")
    return items


def _model(folder: str, name: str, server: str) -> tuple[Ask, set[str], str]:
    """How to ask the model, which signatures it has, and what it is called in print."""
    if server:
        return _server(server, name)
    import tensorflow as tf

    from serving.model import Model

    tf.get_logger().setLevel("ERROR")
    model = Model(folder)

    def ask(signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return model.run(model.signatures[signature], inputs, seconds=60)

    return ask, set(model.signatures), f"{name}, version {os.path.basename(folder)},"


def _server(address: str, name: str) -> tuple[Ask, set[str], str]:
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(address))

    def call(method: Any, request: Any) -> Any:
        request.model_spec.name = name
        try:
            return method(request, timeout=60)
        except grpc.RpcError as error:
            raise InputError(
                f"The server at {address} answered {error.code().name}: {error.details()}"
            ) from None

    def ask(signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = signature
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value, shape=value.shape))
        answer = call(stub.Predict, request)
        return {key: tf.make_ndarray(value) for key, value in answer.outputs.items()}

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    answer = call(stub.GetModelMetadata, request)
    found = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(found)
    asked = f"{name}, version {answer.model_spec.version.value} at {address},"
    return ask, set(found.signature_def), asked


def _told(history: Any) -> str:
    if not history.items:
        return "no event that training would read"
    return f"{len(history.items)} events, the newest of {_day(history.times[-1])}"


def _day(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).date().isoformat()


def _text(item: bytes) -> str:
    return item.decode("utf-8", "backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recommend",
        description="The best items for a user, and what in the history spoke for them.",
    )
    add = parser.add_argument
    add("user", help="an id of the ratings")
    add("--output", default="runs", help="the folder that the model was pushed under")
    add("--candidates", default="1000", help="how many of the most frequent items, or a file")
    add("--top", type=int, default=10, help="how many are printed")
    add("--titles", help="Amazon's metadata (JSON lines), or CSV with a header; plain or gzip")
    add("--server", default="", help="HOST:PORT of a gRPC server to ask")
    return parser


if __name__ == "__main__":
    sys.exit(main())
