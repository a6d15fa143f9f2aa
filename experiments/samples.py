"""The samples that all models of an experiment share: ingested, transformed and stored on disk.

They come from the Beam job, schema and Transform graph of the pipeline. In addition the order of
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

from experiments import cache, resplit
from pipeline.configs import INGESTION, Items, Settings
from transforms import features

_SAMPLING = ("shift", "max_windows_per_user", "min_history_length", "same_day", "sampling_seed")
_READ_BY_MODELS = ("use_ids", "use_time", "use_position")  # settings of the model, not of the samples
_BATCH = 1024


@dataclasses.dataclass(frozen=True)
class Samples:
    """A folder of samples, with their settings and digest."""

    folder: str
    settings: Settings
    digest: str

    def raw(self, split: str) -> list[str]:
        """Files of raw Examples."""
        return _files(f"{self.folder}/raw/Split-{split}")

    def transformed(self, split: str) -> list[str]:
        """Files of transformed samples; splits train and eval."""
        return _files(f"{self.folder}/transformed/{split}")

    @property
    def graph(self) -> str:
        """The folder of the Transform graph."""
        return f"{self.folder}/transform"

    def test(self) -> dict[str, np.ndarray]:
        """The transformed test rows in a fixed order, with `user` hashes and `target_time`."""
        with np.load(f"{self.folder}/test.npz") as arrays:
            return dict(arrays)

    def targets(self) -> bytes:
        """A digest of users, targets and labels of the test rows, without order and histories."""
        import tensorflow as tf

        of = (features.USER_ID, features.TARGET_TIME, features.TARGET_ITEM, features.LABEL)
        kinds = (tf.string, tf.int64, tf.string, tf.int64)
        spec = {name: tf.io.FixedLenFeature([], kind) for name, kind in zip(of, kinds, strict=True)}
        found = []
        for batch in tf.data.TFRecordDataset(self.raw("test"), "GZIP").batch(_BATCH):
            rows = tf.io.parse_example(batch, spec)
            values = [tf.strings.as_string(rows[name]) for name in of]
            found += tf.strings.join(values, "|").numpy().tolist()
        return hashlib.sha256(b"\n".join(sorted(found))).digest()

    def controls(self) -> dict[str, Any]:
        """AUC and GAUC of the controls, by `pipeline.evaluation.controls.NAMES`; cached."""
        from pipeline.evaluation import controls

        path = f"{self.folder}/controls.json"
        if not os.path.exists(path):
            found = controls.controls(self.raw("train"), self.raw("test"))
            with open(path, "w", encoding="utf-8") as file:
                json.dump(found, file)
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
    chosen = {name: values[name] for name in sorted(setting_names() - set(_READ_BY_MODELS))}
    chosen |= {"min_events": min_events, "content": sha.hexdigest()}
    if not settings.items:  # the digest is that of samples from before there were items
        del chosen["items"], chosen["item_fields"]
    if leaking:
        chosen["leaking"] = True
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]
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
            _make(settings, unfinished, scored, leaking)
            os.rename(unfinished, folder)
    return Samples(folder, settings, digest)


def _sources(settings: Settings) -> list[str]:
    """The files that the samples are made of."""
    from pipeline.ingest.sources import filesystem

    paths = list(filesystem.list_files(settings.ratings).paths)
    return paths + (
        list(filesystem.list_files(settings.items, "items").paths) if settings.items else []
    )


def code() -> str:
    """Twelve digits of SHA-256 over the sources that create samples."""
    sources = ("pipeline/ingest/**/*.py", "pipeline/items/*.py", "transforms/**/*.py", "pipeline/schema*")
    return cache.code(*sources, "experiments/resplit.py", "experiments/samples.py")


def _make(settings: Settings, folder: str, scored: set[bytes] | None, leaking: bool) -> None:
    """Writes raw Examples, Transform graph, transformed train and eval, and test as arrays.

    If `scored` is given, the samples are split again.
    """
    import apache_beam as beam
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io
    from tfx_bsl.coders import example_coder
    from tfx_bsl.public import tfxio

    from pipeline.ingest.item_counts import write_frequent_items
    from pipeline.ingest.job import ingest
    from pipeline.items.job import Request, make_item_table
    from pipeline.schema import filled_schema
    from transforms import item_table, preprocessing

    arguments = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
    ingest(settings, f"{folder}/raw", beam.Pipeline(argv=arguments))
    if scored is not None:
        resplit.deal(f"{folder}/raw", scored, leaking)
    schema = filled_schema(settings.max_history_length)
    config = dataclasses.asdict(settings)
    if settings.min_item_count > 1:
        config["frequent_items"] = f"{folder}/frequent_items.npy"
        least = settings.min_item_count
        write_frequent_items(f"{folder}/raw", least, config["frequent_items"])
    graph = f"{folder}/transform"
    if settings.items:
        table = f"{graph}/{item_table.FOLDER}"
        request = Request(item_counts=f"{folder}/raw", **settings.group(Items).to_dict())
        make_item_table(request, table, beam.Pipeline(argv=arguments))
        config["catalogue"] = f"{table}/{item_table.IDS}"

    def source(split: str) -> Any:
        # TFXIO takes TFRecords of any compression by their names.
        pattern = f"{folder}/raw/Split-{split}/*"
        return tfxio.TFExampleRecord(pattern, telemetry_descriptors=["samples"], schema=schema)

    with (
        beam.Pipeline(argv=arguments) as pipeline,
        tft_beam.Context(temp_dir=f"{folder}/temporary"),
    ):
        read = {}
        for split in ("train", "eval"):
            io = source(split)
            read[split] = (pipeline | f"Read {split}" >> io.BeamSource(), io.TensorAdapterConfig())
        transform_fn = read["train"] | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing.preprocessing_fn(inputs, config)
        )
        _ = transform_fn | tft_beam.WriteTransformFn(graph)
        for split, data in read.items():
            rows, _ = (data, transform_fn) | f"Transform {split}" >> tft_beam.TransformDataset(
                output_record_batches=True
            )
            _ = (
                rows
                | f"Encode {split}"
                >> beam.FlatMap(
                    lambda pair: example_coder.RecordBatchToExamplesEncoder().encode(pair[0])
                )
                | f"Write {split}"
                >> beam.io.WriteToTFRecord(
                    f"{folder}/transformed/{split}/part", file_name_suffix=".gz", num_shards=4
                )
            )
    shutil.rmtree(f"{folder}/temporary", ignore_errors=True)
    metadata_io.write_metadata(
        dataset_metadata.DatasetMetadata(schema),
        f"{graph}/{tft.TFTransformOutput.RAW_METADATA_DIR}",
    )
    _write_test(folder)


def _write_test(folder: str) -> None:
    """The test split through the Transform graph, row by row in the order of the files."""
    import tensorflow as tf
    import tensorflow_transform as tft

    transform = tft.TFTransformOutput(f"{folder}/transform")
    layer, spec = transform.transform_features_layer(), transform.raw_feature_spec()
    columns: dict[str, list[np.ndarray]] = {}
    records = tf.data.TFRecordDataset(_files(f"{folder}/raw/Split-test"), "GZIP").batch(_BATCH)
    for batch in records:
        raw = tf.io.parse_example(batch, spec)
        rows = {name: values.numpy() for name, values in layer(raw).items()}
        rows["user"] = tf.strings.to_hash_bucket_fast(raw[features.USER_ID][:, 0], 1 << 62).numpy()
        rows["target_time"] = raw[features.TARGET_TIME][:, 0].numpy()
        for name, values in rows.items():
            columns.setdefault(name, []).append(values)
    arrays = {name: np.concatenate(parts) for name, parts in columns.items()}
    np.savez_compressed(f"{folder}/test.npz", **arrays)


def _files(folder: str) -> list[str]:
    return sorted(os.path.join(folder, name) for name in os.listdir(folder))
