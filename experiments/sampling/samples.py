"""The samples that all models of an experiment share: ingested, transformed and stored on disk.

They come from the Beam job, schema and Transform graph of the pipeline. In addition, the order of
the test rows is fixed, so that scores of all models can be compared row by row.
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
from typing import Any

import numpy as np

from experiments import cache
from experiments.sampling import files, resplit
from pipeline.configs import INGESTION, Settings
from transforms import features

_SAMPLING = ("shift", "max_windows_per_user", "min_history_length", "same_day", "sampling_seed")
# Settings of the model, not of the samples.
_READ_BY_MODELS = ("use_ids", "use_time", "use_position")
_BATCH = 1024


@dataclasses.dataclass(frozen=True)
class Samples:
    """A folder of samples, with their settings and digest."""

    folder: str
    settings: Settings
    digest: str

    def raw(self, split: str) -> list[str]:
        """Files of raw Examples."""
        return files.paths(f"{self.folder}/raw/Split-{split}")

    def transformed(self, split: str) -> list[str]:
        """Files of transformed samples; splits train and eval."""
        return files.paths(f"{self.folder}/transformed/{split}")

    @property
    def graph(self) -> str:
        """The folder of the Transform graph."""
        return f"{self.folder}/transform"

    def test(self) -> dict[str, np.ndarray]:
        """The transformed test rows in a fixed order, with `user` hashes and `target_time`."""
        with np.load(f"{self.folder}/test.npz") as arrays:
            return dict(arrays)

    def training_events(self) -> np.ndarray:
        """How many events of training have the target of each test row, int64 `(N,)`.

        Raises:
          InputError: if ingestion left no counts of items.
        """
        import pyarrow as pa
        import tensorflow as tf

        from pipeline.ingest import hashing, item_counts

        items, counts = item_counts.training_events(f"{self.folder}/raw")
        spec = {features.TARGET_ITEM: tf.io.FixedLenFeature([], tf.string)}
        found = []
        for batch in tf.data.TFRecordDataset(self.raw("test"), "GZIP").batch(_BATCH):
            targets = tf.io.parse_example(batch, spec)[features.TARGET_ITEM].numpy()
            hashes = hashing.hash_strings(pa.array(targets.tolist(), pa.binary()))
            at = np.searchsorted(items, hashes).clip(max=len(items) - 1)
            found.append(np.where(items[at] == hashes, counts[at], 0))
        return np.concatenate(found)

    def targets(self) -> bytes:
        """A digest of users, targets and labels of the test rows, without order and histories."""
        import tensorflow as tf

        types = {
            features.USER_ID: tf.string,
            features.TARGET_TIME: tf.int64,
            features.TARGET_ITEM: tf.string,
            features.LABEL: tf.int64,
        }
        spec = {name: tf.io.FixedLenFeature([], dtype) for name, dtype in types.items()}
        lines = []
        for batch in tf.data.TFRecordDataset(self.raw("test"), "GZIP").batch(_BATCH):
            rows = tf.io.parse_example(batch, spec)
            values = [tf.strings.as_string(rows[name]) for name in types]
            lines += tf.strings.join(values, "|").numpy().tolist()
        return hashlib.sha256(b"\n".join(sorted(lines))).digest()

    def controls(self) -> dict[str, Any]:
        """AUC and GAUC of the controls, by `pipeline.evaluation.controls.NAMES`; cached."""
        from pipeline.evaluation import controls

        path = f"{self.folder}/controls.json"
        if not os.path.exists(path):
            measured = controls.controls(self.raw("train"), self.raw("test")).summary
            with open(path, "w", encoding="utf-8") as file:
                json.dump(measured, file)
        with open(path, encoding="utf-8") as file:
            return json.load(file)["controls"]

    def made_by_this_code(self) -> bool:
        """Whether the current sources made these samples."""
        path = f"{self.folder}/code"
        if not os.path.exists(path):
            return False
        with open(path, encoding="utf-8") as file:
            return file.read() == code()

    def describe(self) -> dict[str, Any]:
        """The properties of the samples that a report shows."""
        with open(f"{self.folder}/raw/report.json", encoding="utf-8") as file:
            report = json.load(file)
        settings = dataclasses.asdict(self.settings)
        names = ("split", "negatives", "max_history_length", "use_time", *_SAMPLING)
        return {
            "ratings": os.path.basename(self.settings.ratings),
            **{name: settings[name] for name in names},
            "splits": report["splits"],
            "digest": self.digest,
            "made_by_this_code": self.made_by_this_code(),
        }


def setting_names() -> set[str]:
    """The settings of the samples, and of the features that a model reads."""
    transform = ("min_item_count", "max_vocabulary_size", "oov_buckets", "time_unit")
    items = ("items", "item_fields")
    return {*INGESTION, *items, *transform, *_READ_BY_MODELS}


def prepare(
    settings: Settings,
    cache_dir: str,
    min_events: int = 0,
    leaking: bool = False,
) -> Samples:
    """Ingests and transforms ratings, unless the result is cached.

    Args:
      settings: settings of ingestion and Transform.
      cache_dir: the samples go to a subfolder of it.
      min_events: users with fewer events are in train only.
      leaking: whether to split windows at random, see `resplit.deal`.

    Raises:
      InputError: if the ratings cannot be ingested, or if no user is left to score.
    """
    sha = hashlib.sha256()
    for path in _sources(settings):
        with open(path, "rb") as file:
            while block := file.read(1 << 24):
                sha.update(block)
    values = dataclasses.asdict(settings)
    key = {name: values[name] for name in sorted(setting_names() - set(_READ_BY_MODELS))}
    key |= {"min_events": min_events, "content": sha.hexdigest()}
    # Without items, the digest stays the same as before there were items.
    if not settings.items:
        del key["items"], key["item_fields"]
    if not settings.event_fields:
        del key["event_fields"]
    if leaking:
        key["leaking"] = True
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = os.path.join(cache_dir, f"samples-{digest}")
    os.makedirs(cache_dir, exist_ok=True)
    with open(os.path.join(cache_dir, f"{digest}.lock"), "w", encoding="utf-8") as lock:
        # Another command may be making the same samples.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(folder):
            split_again = min_events or leaking
            scored = resplit.users_with(settings, min_events) if split_again else None
            unfinished = f"{folder}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            os.makedirs(unfinished)
            with open(f"{unfinished}/code", "w", encoding="utf-8") as file:
                file.write(code())
            files.write(settings, unfinished, scored, leaking)
            os.rename(unfinished, folder)
    return Samples(folder, settings, digest)


def _sources(settings: Settings) -> list[str]:
    """The files of ratings and items that the samples are made of."""
    from pipeline.ingest.sources import filesystem

    paths = list(filesystem.list_files(settings.ratings).paths)
    if settings.items:
        paths += filesystem.list_files(settings.items, "items").paths
    return paths


def code() -> str:
    """Twelve digits of SHA-256 over the sources that make samples."""
    return cache.code(
        "pipeline/ingest/**/*.py",
        "pipeline/items/*.py",
        "transforms/**/*.py",
        "pipeline/schema*",
        "experiments/sampling/*.py",
    )
