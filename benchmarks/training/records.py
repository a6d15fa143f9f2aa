"""Training from files: the cost of the input pipeline, and histories of real lengths.

The training benchmark calls each function in a new process.
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
from experiments import speed
from experiments.sampling import samples
from model.training import data
from transforms import features
from transforms.item_ids import ItemIds

_FILES = 4
_ROUNDS = 3
_STEPS = 20


def prepare(argument: dict[str, Any]) -> tuple[list[str], int]:
    """Prepares samples of ratings; returns the training files and the rows of the item table."""
    shared = samples.prepare(**argument)
    transform = tft.TFTransformOutput(shared.graph)
    vocabulary = transform.vocabulary_size_by_name(features.ITEM_VOCABULARY)
    return shared.transformed("train"), ItemIds(shared.settings.oov_buckets, vocabulary).first_new


def write_full(argument: dict[str, Any]) -> tuple[list[str], int]:
    """Writes `rows` samples with full histories like Transform; returns the same as `prepare`."""
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
        tf.io.TFRecordWriter(f"{unfinished}/part-{number}.gz", "GZIP") for number in range(_FILES)
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
    """Times an epoch of IMN 3P+ from TFRecords and from memory, with the same batches.

    Args:
      argument: `files` of transformed samples with history length `length`; `items`,
        rows of the item table; `threads`; `batches`, the maximum for an epoch.

    Returns:
      Medians over rounds: `memory_seconds` and `records_seconds` of an epoch,
      `memory_cpu_seconds` and `records_cpu_seconds` (sum of all threads), and
      `records_first_batch_seconds`, which includes filling the shuffle buffer; also
      `batches` of an epoch and `mean_length` of the histories.
    """
    measurements.use_threads(argument["threads"])
    length = argument["length"]
    spec = _spec(length)
    ranker, recipe = measurements.build("imn_3p_plus_recipe", length, argument["items"])

    def records() -> tf.data.Dataset:
        batches = data.training_batches(argument["files"], spec, recipe.batch_size, 0, 0)
        return batches.take(argument["batches"])

    in_memory = list(records())
    step = speed.training_step(ranker, recipe, in_memory[0])
    for batch in in_memory[:2]:
        step(batch)
    taken: dict[str, list[float]] = collections.defaultdict(list)
    for _ in range(_ROUNDS):
        for name, source in (("memory", in_memory), ("records", records())):
            start, cpu = time.perf_counter(), time.process_time()
            for number, batch in enumerate(source):
                if number == 0:
                    taken[f"{name}_first_batch"].append(time.perf_counter() - start)
                step(batch)
            taken[name].append(time.perf_counter() - start)
            taken[f"{name}_cpu"].append(time.process_time() - cpu)
    return {
        **{f"{name}_seconds": statistics.median(values) for name, values in taken.items()},
        "batches": len(in_memory),
        "mean_length": float(
            np.mean([batch["history_length"].numpy().mean() for batch in in_memory])
        ),
    }


def from_files(argument: dict[str, Any]) -> dict[str, Any]:
    """Measures the first steps of a training from files.

    Args:
      argument: `files` of samples with history length `length`, and `threads`.

    Returns:
      `bytes_on_disk`; `bytes_in_buffer`, the growth of the process up to the first
      batch; `first_batch_seconds`; `step_seconds`, a median that includes reading;
      `peak_memory_mb` of these steps; `read_rows_per_s` of an epoch without training.
    """
    measurements.use_threads(argument["threads"])
    length, files = argument["length"], argument["files"]
    ranker, recipe = measurements.build("imn_3p_plus_recipe", length, steps.ITEMS)
    example = measurements.constants(steps.batch(length, recipe.batch_size, steps.ITEMS, 0))
    step = speed.training_step(ranker, recipe, example)
    step(example)
    process = psutil.Process()
    before, start = process.memory_info().rss, time.perf_counter()
    dataset = data.training_batches(files, _spec(length), recipe.batch_size, 0, 0)
    source = iter(dataset)
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
    rows = sum(int(tf.size(batch["label"])) for batch in dataset)
    return {
        "bytes_on_disk": sum(os.path.getsize(file) for file in files),
        "bytes_in_buffer": grown,
        "first_batch_seconds": first,
        "step_seconds": statistics.median(taken),
        "read_rows_per_s": rows / (time.perf_counter() - start),
        "peak_memory_mb": peak,
    }


def real_lengths(argument: dict[str, Any]) -> dict[str, Any]:
    """Times the step of a model on real samples from memory, one candidate for each row.

    Args:
      argument: `model`; `files`, `length`, `items`, `threads` and `batches` as for
        `pipeline`; `seconds`, length of the measurement.
    """
    measurements.use_threads(argument["threads"])
    length = argument["length"]
    ranker, recipe = measurements.build(argument["model"], length, argument["items"])
    source = data.training_batches(argument["files"], _spec(length), recipe.batch_size, 0, 0)
    in_memory = list(source.take(argument["batches"]))
    step = speed.training_step(ranker, recipe, in_memory[0])
    lengths = np.concatenate([batch["history_length"].numpy().reshape(-1) for batch in in_memory])
    return {
        **steps.timed(step, in_memory, argument["seconds"]),
        "mean_length": float(lengths.mean()),
        "quantiles": np.quantile(lengths, [0.5, 0.9, 0.99, 1]).tolist(),
    }


def _spec(length: int) -> dict[str, Any]:
    example = steps.batch(length, 1, steps.ITEMS, 0)
    return {
        name: tf.io.FixedLenFeature(values.shape[1:], tf.int64) for name, values in example.items()
    }
