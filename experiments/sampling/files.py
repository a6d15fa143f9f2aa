"""The files of samples: raw Examples, Transform graph, transformed splits, test rows as arrays."""

import dataclasses
import os
import shutil
from typing import Any

import numpy as np

from experiments.sampling import resplit
from pipeline.configs import Settings
from transforms import features

_BATCH = 1024
_BEAM_ARGUMENTS = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]


def paths(folder: str) -> list[str]:
    """All files of a folder, sorted by name."""
    return sorted(os.path.join(folder, name) for name in os.listdir(folder))


def write(settings: Settings, folder: str, scored: set[bytes] | None, leaking: bool) -> None:
    """Ingests ratings and items, and transforms them.

    Args:
      settings: settings of ingestion and Transform.
      folder: gets `raw`, `transform`, `transformed` (train and eval) and `test.npz`.
      scored: users with rows in eval and test, see `resplit.deal`; None keeps the splits
        of ingestion.
      leaking: whether to split windows at random, see `resplit.deal`; only with `scored`.
    """
    import apache_beam as beam

    from pipeline.ingest.item_counts import write_frequent_items
    from pipeline.ingest.job import ingest
    from pipeline.items.job import Request, make_item_table
    from pipeline.schema import filled_schema
    from transforms import item_table

    ingest(settings, f"{folder}/raw", beam.Pipeline(argv=_BEAM_ARGUMENTS))
    if scored is not None:
        resplit.deal(f"{folder}/raw", scored, leaking)
    config = dataclasses.asdict(settings)
    if settings.min_item_count > 1:
        config["frequent_items"] = f"{folder}/frequent_items.npy"
        write_frequent_items(f"{folder}/raw", settings.min_item_count, config["frequent_items"])
    if settings.items:
        table = f"{folder}/transform/{item_table.FOLDER}"
        request = Request(
            settings.items,
            settings.item_fields,
            settings.max_bad_share,
            settings.max_vocabulary_size,
            f"{folder}/raw",
        )
        make_item_table(request, table, beam.Pipeline(argv=_BEAM_ARGUMENTS))
        config["catalogue"] = f"{table}/{item_table.IDS}"
    _transform(folder, filled_schema(settings.max_history_length, settings.event_fields), config)
    _write_test_rows(folder)


def _transform(folder: str, schema: Any, config: dict[str, Any]) -> None:
    """Analyzes train; writes the Transform graph, and train and eval through it."""
    import apache_beam as beam
    import tensorflow_transform.beam as tft_beam
    from tfx_bsl.coders import example_coder
    from tfx_bsl.public import tfxio

    from transforms import graph

    with (
        beam.Pipeline(argv=_BEAM_ARGUMENTS) as pipeline,
        tft_beam.Context(temp_dir=f"{folder}/temporary"),
    ):
        datasets = {}
        for split in ("train", "eval"):
            # TFXIO finds the compression by the names of the files.
            pattern = f"{folder}/raw/Split-{split}/*"
            source = tfxio.TFExampleRecord(
                pattern, telemetry_descriptors=["samples"], schema=schema
            )
            batches = pipeline | f"Read {split}" >> source.BeamSource()
            datasets[split] = (batches, source.TensorAdapterConfig())
        transform_fn = graph.write(datasets["train"], schema, config, f"{folder}/transform")
        for split, dataset in datasets.items():
            rows, _ = (dataset, transform_fn) | f"Transform {split}" >> tft_beam.TransformDataset(
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


def _write_test_rows(folder: str) -> None:
    """Writes the test split through the Transform graph, row by row in the order of its files."""
    import tensorflow as tf
    import tensorflow_transform as tft

    transform = tft.TFTransformOutput(f"{folder}/transform")
    layer, spec = transform.transform_features_layer(), transform.raw_feature_spec()
    columns: dict[str, list[np.ndarray]] = {}
    records = tf.data.TFRecordDataset(paths(f"{folder}/raw/Split-test"), "GZIP").batch(_BATCH)
    for batch in records:
        raw = tf.io.parse_example(batch, spec)
        rows = {name: values.numpy() for name, values in layer(raw).items()}
        rows["user"] = tf.strings.to_hash_bucket_fast(raw[features.USER_ID][:, 0], 1 << 62).numpy()
        rows["target_time"] = raw[features.TARGET_TIME][:, 0].numpy()
        for name, values in rows.items():
            columns.setdefault(name, []).append(values)
    arrays: dict[str, Any] = {name: np.concatenate(parts) for name, parts in columns.items()}
    np.savez_compressed(f"{folder}/test.npz", **arrays)
