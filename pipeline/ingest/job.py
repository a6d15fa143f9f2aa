"""The Beam job: stages over ranges and buckets, with a decision after each.

    ranges of files ─ partition ─► buckets ─ sort ─► count ─► pool ─► write
                          │                   │        │  └ count_items ┘
                       bad lines?        boundaries  empty splits? blocks

With more than `shuffle.FAN_OUT` buckets there are stages that regroup files before `sort` and
`count_items`.

Beam moves only references and counts. Rows stay in files (see `stages`), because Beam's local
runner keeps a shuffle in memory at several times its size. If a worker finds a mistake of the
user, later stages do nothing, and `ingest` raises the error without Beam's traceback.
"""

import dataclasses
import functools
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
import pyarrow as pa
from absl import logging
from tfx.dsl.io import fileio

from pipeline.configs import Ingestion
from pipeline.errors import InputError
from pipeline.ingest import hashing, plans, shards, stages, summary
from pipeline.ingest.sources import layout, reading, records
from pipeline.ingest.stages import Job, Tally
from pipeline.progress import Progress
from transforms import features

HISTOGRAMS = "histograms.json"
BAD_LINES = "bad_lines"
BUCKET_BYTES = 24 << 20  # approximate text of a bucket; decides the memory of a worker
_BESIDE = (BAD_LINES, stages.ITEM_COUNTS)  # folders beside those of the splits
_BUCKETS = 8  # at least, if each holds a megabyte, so that workers get equal shares


def ingest(
    settings: Ingestion,
    output: str,
    pipeline: beam.Pipeline,
    range_bytes: int = records.BLOCK_BYTES,
    bucket_bytes: int = BUCKET_BYTES,
) -> Tally:
    """Turns ratings into splits of tf.Examples.

    Writes `Split-train`, `Split-eval` and `Split-test` (TFRecords, gzip), and
    beside them `report.json`, `histograms.json` (`summary.histograms`) and `bad_lines/`.

    Args:
      settings: `ratings` and how to sample.
      output: a folder that all workers can access.
      pipeline: an empty Beam pipeline; this function runs it.
      range_bytes: bytes of text that a worker parses at once.
      bucket_bytes: approximate bytes of text in a bucket of users.

    Returns:
      the content of `report.json`.

    Raises:
      InputError: if the ratings are missing, empty, of an unknown layout, have too
        many bad lines or leave a split empty.
    """
    started = time.time()
    ranges, text = reading.plan(settings, range_bytes)
    unrated = [part.path for part in ranges if layout.RATING not in part.layout.roles]
    if unrated and settings.min_rating > 0:
        raise InputError(
            f"`min_rating` is {settings.min_rating}, but {unrated[0]!r} has no column of ratings. "
            "Set it to 0, or give files that have one."
        )
    folder = os.path.join(output, "spill")
    buckets = max(1, text // bucket_bytes, min(_BUCKETS, text >> 20))
    job = Job(settings, folder, output, buckets, started)
    splits = [os.path.join(output, f"Split-{name}") for name in features.SPLITS]
    for path in (folder, *(os.path.join(output, name) for name in _BESIDE), *splits):
        fileio.makedirs(path)
    try:
        with Progress("RatingsExampleGen", _steps(job, len(ranges)), "steps") as progress:
            _build(pipeline, job, ranges, progress.advance)
            pipeline.run().wait_until_finish()
        with fileio.open(os.path.join(folder, "result.json"), "r") as file:
            result = json.load(file)
        if result["error"]:
            raise InputError(result["error"])
    except BaseException:
        for path in splits:
            fileio.rmtree(path)
        raise
    finally:
        fileio.rmtree(folder)
    report = summary.report(job, ranges, result, time.time() - started)
    for name, content in (
        ("report.json", report),
        (HISTOGRAMS, summary.histograms(result)),
    ):
        with fileio.open(os.path.join(output, name), "w") as file:
            file.write(json.dumps(content, indent=2) + "\n")
    for line in summary.lines(report):
        logging.info("%s", line)
    return report


def _steps(job: Job, ranges: int) -> int:
    """How often a stage runs on a range or bucket."""
    of_levels = sum(job.levels.ranges(level - 1) for level in range(1, job.levels.count))
    each_bucket = (stages.sort, stages.count, stages.count_items, stages.pool, shards.write)
    return ranges + 2 * of_levels + len(each_bucket) * job.buckets


def _build(
    pipeline: beam.Pipeline,
    job: Job,
    ranges: list[records.Range],
    advance: Callable[[int], None],
) -> None:
    settings = job.settings

    def each_bucket(stage: Callable, plan: Any, count: int = job.buckets) -> beam.PCollection:
        # Each stage has its own references, because Beam's local runner cannot order stages that
        # share them.
        return (
            pipeline
            | f"Buckets to {stage.__name__}" >> beam.Create(range(count))
            | f"Spread buckets to {stage.__name__}" >> beam.Reshuffle()
            | stage.__name__ >> beam.ParDo(_Stage(stage, job, advance), plan)
        )

    def total(counts: beam.PCollection, decide: Callable, *before: Any, name: str = "") -> Any:
        name = name or decide.__name__
        summed = counts | f"Sum for {name}" >> beam.CombineGlobally(plans.add_up)
        return beam.pvalue.AsSingleton(
            summed | name >> beam.Map(functools.partial(decide, settings), *before)
        )

    def regroup(kind: str, plan: Any) -> Any:
        for level in range(1, job.levels.count):
            stage = Regroup(kind, level)
            counts = each_bucket(stage, plan, job.levels.ranges(level - 1))
            plan = total(counts, plans.regrouped, plan, name=f"{stage.__name__}: files")
        return plan

    parsed = (
        pipeline
        | "Ranges" >> beam.Create(ranges)
        | "Spread ranges" >> beam.Reshuffle()
        | "partition" >> beam.ParDo(_Stage(stages.partition, job, advance))
    )
    lines = regroup("events", total(parsed, plans.check_lines))
    edges = total(each_bucket(stages.sort, lines), plans.place_edges, lines)
    targets = total(each_bucket(stages.count, edges), plans.check_splits, edges)
    targets = regroup("items", targets)
    pooled = (each_bucket(stages.count_items, targets), each_bucket(stages.pool, targets))
    pools = total(pooled | beam.Flatten(), plans.close_pools, targets)
    written = each_bucket(shards.write, pools)
    _ = (
        written
        | "Sum" >> beam.CombineGlobally(plans.add_up)
        | "Result" >> beam.Map(_write_result, job, pools)
    )


@dataclasses.dataclass(frozen=True)
class Regroup:
    """The stage between two levels of the shuffle: takes a range of the level before.

    Attributes:
      kind: what the rows are, for the names of files. Their first column is an id or its hash.
      level: the level that is written.
    """

    kind: str
    level: int

    @property
    def __name__(self) -> str:
        return f"regroup {self.kind} {self.level}"

    def __call__(self, job: Job, part: int, plan: Tally) -> Tally:
        """Cuts the rows of the range `part` into narrower ranges; returns the new files."""
        paths = []
        for number, batch in enumerate(job.levels.merge(plan["files"], part)):
            key = batch.column(0)
            is_hash = pa.types.is_uint64(key.type)
            hashes = key.to_numpy() if is_hash else hashing.hash_strings(key)
            paths.append(job.path(f"{self.kind}{self.level}", f"{part:05}-{number:05}"))
            bucket = hashing.ranges(hashes, job.buckets)
            job.levels.write(paths[-1], batch, bucket, self.level)
        return {"files": {part: paths}}


class _Stage(beam.DoFn):
    """Runs one stage on one range or bucket; does nothing after an error."""

    def __init__(self, stage: Callable, job: Job, advance: Callable[[int], None]) -> None:
        self._stage, self._job, self._advance = stage, job, advance

    def process(self, element: Any, plan: Tally | None = None) -> Iterable[Tally]:
        """Beam calls this function for every range or bucket."""
        if plan is not None and plan["error"]:
            return
        start, cpu = time.time(), time.thread_time()
        arguments = () if plan is None else (plan,)
        tally = self._stage(self._job, element, *arguments)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        cpu = time.thread_time() - cpu
        worker = f"{platform.node()} {os.getpid()}"
        self._advance(1)
        tally["stages"] = [(self._stage.__name__, start, time.time(), memory, worker, cpu)]
        yield tally


def _write_result(tally: Tally, job: Job, plan: Tally) -> None:
    result = plans.carry(plan, tally)
    if not result["error"]:
        count = {name: tally[name]["positives"] for name in features.SPLITS}
        result["error"] = plans.no_negatives(count, plan) or plans.empty_split(
            job.settings, count, result
        )
    for name in ("lengths", "files"):
        result.pop(name, None)
    with fileio.open(os.path.join(job.folder, "result.json"), "w") as file:
        file.write(json.dumps(result))
