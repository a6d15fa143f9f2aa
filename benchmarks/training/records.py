"""Training from files: what the input pipeline costs beside the step, and real lengths.

Each function runs in a process of its own, called by benchmarks.training.
"""

import collections
import glob
import os
import shutil
import statistics
import time
from typing import Any

import numpy as np
import psutil
import tensorflow as tf
import tensorflow_transform as tft

from benchmarks.training import measurements, steps
from experiments import samples, speed
from model.training import data
from transforms import features

_FILES = 4
_ROUNDS = 3
_STEPS = 20


def prepare(argument: dict[str, Any]) -> tuple[list[str], int]:
    """Samples of ratings by `samples.prepare`: files of training, rows of the item table."""
    shared = samples.prepare(**argument)
    transform = tft.TFTransformOutput(shared.graph)
    vocabulary = transform.vocabulary_size_by_name(features.ITEM_VOCABULARY)
    return shared.transformed("train"), 1 + shared.settings.oov_buckets + vocabulary


def write_full(argument: dict[str, Any]) -> tuple[list[str], int]:
    """As `prepare`: `rows` samples with full histories, written as Transform does, once."""
    import pyarrow as pa
    from tfx_bsl.coders import example_coder

    folder, length, rows = argument["folder"], argument["length"], argument["rows"]
    if os.path.exists(folder):
        return sorted(glob.glob(f"{folder}/*")), steps.ITEMS
    unfinished = f"{folder}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    os.makedirs(unfinished)
    encoder = example_coder.RecordBatchToExamplesEncoder()
    writers = [
        tf.io.TFRecordWriter(f"{unfinished}/part-{place}.gz", "GZIP") for place in range(_FILES)
    ]
    for seed in range(-(-rows // steps.BATCH_SIZE)):
        batch = steps.batch(length, steps.BATCH_SIZE, steps.ITEMS, seed)
        columns = [pa.array(list(values)) for values in batch.values()]
        for record in encoder.encode(pa.RecordBatch.from_arrays(columns, list(batch))):
            writers[seed % _FILES].write(record)
    for writer in writers:
        writer.close()
    os.rename(unfinished, folder)
    return sorted(glob.glob(f"{folder}/*")), steps.ITEMS


def pipeline(argument: dict[str, Any]) -> dict[str, Any]:
    """An epoch of IMN 3P+ from TFRecords against the same batches from memory.

    Args:
      argument: `files` of transformed samples with histories of `length`, `items`
        rows of the item table, `threads`, and the most `batches` to train on.

    Returns:
      Medians over rounds, taken in turn: `memory_seconds` and `records_seconds` of
      an epoch, the same as `_cpu_seconds` of all threads together, and
      `records_first_batch_seconds`, which holds the filling of the shuffle
      buffer; `batches` of an epoch and `mean_length`.
    """
    measurements.use_threads(argument["threads"])
    length = argument["length"]
    spec = _spec(length)
    ranker, recipe = measurements.build("imn_3p_plus_recipe", length, argument["items"])

    def records() -> tf.data.Dataset:
        made = data.training_batches(argument["files"], spec, recipe.batch_size, 0, 0)
        return made.take(argument["batches"])

    held = list(records())
    step = speed.training_step(ranker, recipe, held[0])
    for batch in held[:2]:
        step(batch)
    taken: dict[str, list[float]] = collections.defaultdict(list)
    for _ in range(_ROUNDS):
        for name, source in (("memory", held), ("records", records())):
            start, cpu = time.perf_counter(), time.process_time()
            for place, batch in enumerate(source):
                if not place:
                    taken[f"{name}_first_batch"].append(time.perf_counter() - start)
                step(batch)
            taken[name].append(time.perf_counter() - start)
            taken[f"{name}_cpu"].append(time.process_time() - cpu)
    return {
        **{f"{name}_seconds": statistics.median(values) for name, values in taken.items()},
        "batches": len(held),
        "mean_length": float(np.mean([batch["history_length"].numpy().mean() for batch in held])),
    }


def from_files(argument: dict[str, Any]) -> dict[str, Any]:
    """A training that has just begun on files of any number of rows.

    Args:
      argument: `files` of samples with histories of `length`, `threads`.

    Returns:
      `bytes_on_disk`; `bytes_in_buffer`, what the process grew by until the first
      batch was there, and `first_batch_seconds`; `step_seconds`, a median with
      reading, and `peak_memory_mb` until then; `read_rows_per_s` of an epoch without
      training.
    """
    measurements.use_threads(argument["threads"])
    length, files = argument["length"], argument["files"]
    ranker, recipe = measurements.build("imn_3p_plus_recipe", length, steps.ITEMS)
    given = measurements.constants(steps.batch(length, recipe.batch_size, steps.ITEMS, 0))
    step = speed.training_step(ranker, recipe, given)
    step(given)
    process = psutil.Process()
    before, start = process.memory_info().rss, time.perf_counter()
    files_of = data.training_batches(files, _spec(length), recipe.batch_size, 0, 0)
    source = iter(files_of)
    batch = next(source)
    first = time.perf_counter() - start
    grown = process.memory_info().rss - before
    taken: list[float] = []
    while batch is not None and len(taken) < _STEPS:
        start = time.perf_counter()
        step(batch)
        batch = next(source, None)
        taken.append(time.perf_counter() - start)
    peak = steps.peak_memory_mb()
    del source
    start = time.perf_counter()
    rows = sum(int(tf.size(batch["label"])) for batch in files_of)
    return {
        "bytes_on_disk": sum(os.path.getsize(file) for file in files),
        "bytes_in_buffer": grown,
        "first_batch_seconds": first,
        "step_seconds": statistics.median(taken),
        "read_rows_per_s": rows / (time.perf_counter() - start),
        "peak_memory_mb": peak,
    }


def real_lengths(argument: dict[str, Any]) -> dict[str, Any]:
    """`steps.timed` of a row on real samples, one candidate a row, from memory.

    Args:
      argument: `model`, the row; `files`, `length`, `items`, `threads`, `batches` as
        for `pipeline`; `seconds` to measure.
    """
    measurements.use_threads(argument["threads"])
    length = argument["length"]
    ranker, recipe = measurements.build(argument["model"], length, argument["items"])
    source = data.training_batches(argument["files"], _spec(length), recipe.batch_size, 0, 0)
    held = list(source.take(argument["batches"]))
    step = speed.training_step(ranker, recipe, held[0])
    lengths = np.concatenate([batch["history_length"].numpy().reshape(-1) for batch in held])
    return {
        **steps.timed(step, held, argument["seconds"]),
        "mean_length": float(lengths.mean()),
        "quantiles": np.quantile(lengths, [0.5, 0.9, 0.99, 1]).tolist(),
    }


def _spec(length: int) -> dict[str, Any]:
    like = steps.batch(length, 1, steps.ITEMS, 0)
    return {
        name: tf.io.FixedLenFeature(values.shape[1:], tf.int64) for name, values in like.items()
    }
