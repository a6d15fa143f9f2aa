"""Approximate indexes beside the exact search of the first stage, on a trained catalogue.

The vectors are those of an exported model with a first stage, and the users those of samples of
its run. `recall` is the share of the exact best K that an index finds. The exact search is that of
the export: TensorFlow's product with all vectors and its `top_k`. The indexes are faiss', in an
environment of their own.

Example: python -m benchmarks.serving.approximate --run runs --output out
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time
from typing import Any

# Before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import psutil

from benchmarks import reporting
from benchmarks.peers import environment
from experiments import machine

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_K = 500
_USERS = 200


def catalogue_and_users(run: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the items `(N, D)` of a run's newest pushed model, and of test users `(U, D)`.

    An export does not give user vectors. The cosines of the best items are linear equations of the
    user, so least squares give them back.
    """
    import tensorflow as tf

    from transforms import features

    exports = (run / "serving_model").glob("*/*/saved_model.pb")
    newest = max(exports, key=lambda path: int(path.parent.name)).parent
    model = tf.saved_model.load(str(newest))
    names, vectors = model.catalogue.names.numpy(), model.catalogue.vectors.numpy()
    files = (run / "pipeline").glob("*/RatingsExampleGen/examples/*/Split-test/*.gz")
    file = str(max(files, key=lambda path: int(path.parents[1].name)))
    records = tf.data.TFRecordDataset(file, "GZIP").batch(_USERS * 4)
    sequence = {"default_value": None, "allow_missing": True}
    request = tf.io.parse_example(
        next(iter(records)),
        {
            features.HISTORY_ITEM: tf.io.FixedLenSequenceFeature([], tf.string, **sequence),
            features.HISTORY_TIME: tf.io.FixedLenSequenceFeature([], tf.int64, **sequence),
            features.HISTORY_LENGTH: tf.io.FixedLenFeature([], tf.int64),
            features.TARGET_TIME: tf.io.FixedLenFeature([], tf.int64),
        },
    )
    request["request_time"] = request.pop(features.TARGET_TIME)
    request = {name: value[::4] for name, value in request.items()}  # of different users, mostly
    count = tf.fill([len(request["request_time"])], tf.constant(_K, tf.int64))
    answer = model.signatures["retrieve"](k=count, **request)
    row_of = {name: row for row, name in enumerate(names)}
    users = []
    for items, cosines in zip(answer["items"].numpy(), answer["scores"].numpy(), strict=True):
        known = vectors[[row_of[item] for item in items if item]]
        users.append(np.linalg.lstsq(known, cosines[: len(known)], rcond=None)[0])
    return vectors[names != b""], np.array(users, np.float32)


def exact(vectors: np.ndarray, users: np.ndarray) -> dict[str, Any]:
    """The row of the search that the export does."""
    import tensorflow as tf

    catalogue = tf.Variable(vectors)

    @tf.function(input_signature=[tf.TensorSpec([1, vectors.shape[1]])], autograph=False)
    def search(user: tf.Tensor) -> tf.Tensor:
        return tf.math.top_k(tf.matmul(user, catalogue, transpose_b=True), _K).indices

    taken = []
    for user in [*users[:10], *users]:
        start = time.perf_counter()
        search(tf.constant(user[None]))
        taken.append(1_000 * (time.perf_counter() - start))
    p50, p99 = np.percentile(taken[10:], (50, 99)).tolist()
    row = {"index": "exact, as in the export", "p50_ms": p50, "p99_ms": p99, "recall": 1.0}
    return row | {"build_s": 0.0, "mb": vectors.nbytes / 1e6}


def indexes(vectors: np.ndarray, users: np.ndarray, cache: str) -> list[dict[str, Any]]:
    """The rows of faiss' indexes.

    Raises:
      environment.NotSetUp: if its environment cannot be created.
    """
    interpreter = environment.python("faiss", cache)
    with tempfile.TemporaryDirectory() as folder:
        plan: dict[str, Any] = {"k": _K, "threads": os.cpu_count()}
        for name, value in (("vectors", vectors), ("users", users)):
            plan[name] = os.path.join(folder, f"{name}.npy")
            np.save(plan[name], value)
        done = subprocess.run(
            [interpreter, "-m", "benchmarks.peers.faiss_indexes", json.dumps(plan)],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout.splitlines()[-1])["rows"]


def markdown(result: dict[str, Any]) -> str:
    """The table."""
    lines = [
        reporting.line(["index", "recall", "p50, ms", "p99, ms", "build, s", "MB"]),
        reporting.rule(5),
    ]
    for row in result["rows"]:
        lines.append(
            reporting.line(
                [
                    row["index"],
                    f"{row['recall']:.3f}",
                    f"{row['p50_ms']:.2f}",
                    f"{row['p99_ms']:.2f}",
                    f"{row['build_s']:.0f}",
                    f"{row['mb']:,.0f}",
                ]
            )
        )
    says = (
        f"The best {_K} of {result['items']:,} items for {result['users']} users of test, one at a "
        "time; `recall` is the share of the exact answer."
    )
    parts = ["# Approximate indexes", reporting.conditions(result), says, "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def picture(result: dict[str, Any], path: str) -> None:
    """Median time by recall."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5))
    for row in result["rows"]:
        axes.plot(row["p50_ms"], row["recall"], "o", label=row["index"])
    axes.set_xscale("log")
    axes.set_xlabel("ms of a user, p50")
    axes.set_ylabel("share of the exact best")
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Runs the benchmark for the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.approximate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", default="runs", help="output folder of `make run`")
    parser.add_argument("--cache", default="bench_out/cache", help="folder of faiss' environment")
    parser.add_argument("--output", default="bench_out")
    args = parser.parse_args()
    conditions = machine.describe(os.cpu_count() or 1, psutil.virtual_memory().total >> 20)
    vectors, users = catalogue_and_users(pathlib.Path(args.run))
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "command": machine.origin("benchmarks.serving.approximate")["command"],
        "machine": conditions,
        "items": len(vectors),
        "users": len(users),
        "rows": [exact(vectors, users), *indexes(vectors, users, args.cache)],
    }
    reporting.write("approximate", args.output, result, markdown, picture)


if __name__ == "__main__":
    main()
