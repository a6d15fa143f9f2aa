"""Compares two output folders of runs: Examples, vocabulary, metrics, verdict.

    python -m tests.cluster.compare runs/local runs/cluster

Exit status 1 if they do not agree.
"""

import argparse
import hashlib
import json
import pathlib
import sys
from typing import Any

import tensorflow as tf

from transforms import features

CLOSE = 1e-6  # metrics that agree; the order of sums differs


def newest(output: str | pathlib.Path, component: str, key: str) -> pathlib.Path:
    """The newest artifact of a component under the output folder of a run."""
    (folder,) = pathlib.Path(output).glob(f"pipeline/*/{component}/{key}")
    return max(folder.iterdir(), key=lambda path: int(path.name))


def digests(examples: pathlib.Path) -> dict[str, str]:
    """For each split, a digest of its Examples that does not depend on their order or files."""
    found = {}
    folders = sorted(examples.glob("Split-*"))
    if not folders:
        raise FileNotFoundError(f"{examples} must hold splits. It has none.")
    for folder in folders:
        files = sorted(map(str, folder.iterdir()))
        records = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
        rows = sorted(map(_digest, records))
        found[folder.name] = f"{len(rows)} {hashlib.sha256(b''.join(rows)).hexdigest()}"
    return found


def _digest(record: bytes) -> bytes:
    """Of the features in order of their names: a protocol buffer's map has none."""
    feature = tf.train.Example.FromString(record).features.feature
    parts = [name.encode() + feature[name].SerializeToString() for name in sorted(feature)]
    return hashlib.sha256(b"".join(parts)).digest()


def distances(a: Any, b: Any, at: str = "") -> dict[str, float]:
    """The absolute difference of each number of two nested metrics; other values must agree."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return {k: v for key in a for k, v in distances(a[key], b[key], f"{at}/{key}").items()}
    if isinstance(a, float | int) and isinstance(b, float | int):
        return {at: abs(a - b)}
    return {at: 0.0 if a == b else float("inf")}


def compare(one: str, other: str) -> dict[str, Any]:
    """What two runs agree on, and the largest difference of a metric.

    Raises:
      FileNotFoundError: if a run has no Examples.
    """

    def both(read: Any) -> tuple[Any, Any]:
        return read(one), read(other)

    def evaluation(name: str) -> tuple[Any, Any]:
        folders = both(lambda output: newest(output, "Evaluator", "evaluation"))
        a, b = (json.loads((folder / name).read_text()) for folder in folders)
        return a, b

    vocabulary = f"transform_fn/assets/{features.ITEM_VOCABULARY}"
    examples = both(lambda output: digests(newest(output, "RatingsExampleGen", "examples")))
    transformed = both(lambda output: digests(newest(output, "Transform", "transformed_examples")))
    words = both(
        lambda output: (newest(output, "Transform", "transform_graph") / vocabulary).read_bytes()
    )
    metrics = distances(*evaluation("metrics.json"))
    worst = max(metrics, key=lambda name: metrics[name])
    verdicts = evaluation("verdict.json")
    return {
        "examples": examples[0] == examples[1],
        "transformed": transformed[0] == transformed[1],
        "vocabulary": words[0] == words[1],
        "metrics": metrics[worst] <= CLOSE,
        "largest difference": metrics[worst],
        "metric of it": worst,
        "verdict": verdicts[0]["blessed"] == verdicts[1]["blessed"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("one")
    parser.add_argument("other")
    result = compare(**vars(parser.parse_args()))
    print(json.dumps(result, indent=2))  # noqa: T201
    sys.exit(not all(value for name, value in result.items() if isinstance(value, bool)))
