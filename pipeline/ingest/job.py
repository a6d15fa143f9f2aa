"""The Beam job: stages of buckets, and what is decided between them.

    ranges of files ─ partition ─► buckets ─ sort ─► count ─► pool ─► write
                          │                   │        │  └ count_items ┘
                       bad lines?        boundaries  empty splits? blocks

Beam moves references and counts; rows stay in files (`stages`), because its
local runner holds a shuffle in memory at several times the bytes. A mistake of
the user found by a worker ends the later stages early and is raised here, in
words, not through Beam's traceback.
"""

import datetime
import functools
import json
import os
import resource
import time
from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
from absl import logging
from tfx.dsl.io import fileio

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.ingest import files, hashing, histories, layouts, negatives, shards, stages
from pipeline.ingest.stages import Job, Tally
from transforms import features

BUCKET_BYTES = 24 << 20  # of text a bucket, about: what decides the memory of a worker


def ingest(
    settings: Settings,
    output: str,
    pipeline: beam.Pipeline,
    range_bytes: int = files.RANGE_BYTES,
    bucket_bytes: int = BUCKET_BYTES,
) -> Tally:
    """Turns ratings into splits of tf.Examples.

    Writes `Split-train`, `Split-eval` and `Split-test` (TFRecords, gzip), and
    beside them `report.json` and `bad_lines/`.

    Args:
      settings: `ratings` and how to sample.
      output: a folder, seen by all workers.
      pipeline: an empty one; it is run here.
      range_bytes: of text that a worker parses at once.
      bucket_bytes: of text a bucket of users, about.

    Returns:
      what `report.json` holds.

    Raises:
      InputError: if the ratings are missing, empty, of an unknown layout, have too
        many bad lines or leave a split empty.
    """
    started = time.time()
    paths = files.list_files(settings.ratings)
    ranges, text = files.plan(paths, settings.layout, range_bytes)
    unrated = [part.path for part in ranges if layouts.RATING not in part.layout.roles]
    if unrated and settings.min_rating > 0:
        raise InputError(
            f"`min_rating` is {settings.min_rating}, but {unrated[0]!r} has no column of ratings. "
            "Set it to 0, or give files that have one."
        )
    folder = os.path.join(output, "spill")
    buckets = max(1, text // bucket_bytes)
    job = Job(settings, folder, output, buckets, started)
    made = [os.path.join(output, f"Split-{name}") for name in features.SPLITS]
    for path in (folder, os.path.join(output, "bad_lines"), *made):
        fileio.makedirs(path)
    try:
        _build(pipeline, job, ranges)
        pipeline.run().wait_until_finish()
        with fileio.open(os.path.join(folder, "result.json"), "r") as file:
            result = json.load(file)
        if result["error"]:
            raise InputError(result["error"])
    except BaseException:
        for path in made:
            fileio.rmtree(path)
        raise
    finally:
        fileio.rmtree(folder)
    report = _report(job, paths, ranges, result, time.time() - started)
    with fileio.open(os.path.join(output, "report.json"), "w") as file:
        file.write(json.dumps(report, indent=2) + "\n")
    logging.info("Ingested %s lines as %s.", report["lines"], report["splits"])
    return report


def _build(pipeline: beam.Pipeline, job: Job, ranges: list[files.Range]) -> None:
    settings = job.settings

    def each_bucket(stage: Callable, plan: Any) -> beam.PCollection:
        # References of its own: Beam's local runner cannot order stages that share them.
        return (
            pipeline
            | f"Buckets to {stage.__name__}" >> beam.Create(range(job.buckets))
            | f"Spread buckets to {stage.__name__}" >> beam.Reshuffle()
            | stage.__name__ >> beam.ParDo(_Stage(stage, job), plan)
        )

    def total(counts: beam.PCollection, decide: Callable, *before: Any) -> Any:
        name = decide.__name__.strip("_")
        summed = counts | f"Sum for {name}" >> beam.CombineGlobally(add_up)
        return beam.pvalue.AsSingleton(
            summed | name >> beam.Map(functools.partial(decide, settings), *before)
        )

    parsed = (
        pipeline
        | "Ranges" >> beam.Create(ranges)
        | "Spread ranges" >> beam.Reshuffle()
        | "partition" >> beam.ParDo(_Stage(stages.partition, job))
    )
    lines = total(parsed, check_lines)
    edges = total(each_bucket(stages.sort, lines), place_edges, lines)
    targets = total(each_bucket(stages.count, edges), check_splits, edges)
    pooled = (each_bucket(stages.count_items, targets), each_bucket(stages.pool, targets))
    pools = total(pooled | beam.Flatten(), close_pools, targets)
    written = each_bucket(shards.write, pools)
    _ = (
        written
        | "Sum" >> beam.CombineGlobally(add_up)
        | "Result" >> beam.Map(_write_result, job, pools)
    )


class _Stage(beam.DoFn):
    """Runs one stage on one range or bucket; nothing, once the job is refused."""

    def __init__(self, stage: Callable, job: Job) -> None:
        self._stage, self._job = stage, job

    def process(self, element: Any, plan: Tally | None = None) -> Iterable[Tally]:
        """Called by Beam for every reference."""
        if plan is not None and plan["error"]:
            return
        start = time.time()
        arguments = () if plan is None else (plan,)
        tally = self._stage(self._job, element, *arguments)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        tally["stages"] = [(self._stage.__name__, start, time.time(), memory)]
        yield tally


def add_up(tallies: Iterable[Tally]) -> Tally:
    """Sum of tallies: numbers add, lists follow one another, dictionaries go key by key."""
    result: Tally = {}
    for tally in tallies:
        _add(result, tally)
    return result


def _add(into: dict, tally: dict) -> None:
    for key, value in tally.items():
        if isinstance(value, dict):
            _add(into.setdefault(key, {}), value)
        elif isinstance(value, list):
            into.setdefault(key, []).extend(value)
        else:
            into[key] = into.get(key, 0) + value


def check_lines(settings: Settings, tally: Tally) -> Tally:
    """What `sort` needs, or the reason to stop: damaged files, bad lines, no events."""
    bad = sum(tally["bad"].values())
    shown = sorted(tally["examples"])[:3]
    error = ""
    if tally["damaged"]:
        error = tally["damaged"][0]
    elif bad > settings.max_bad_share * tally["lines"]:
        reasons = sorted(tally["bad"].items(), key=lambda entry: (-entry[1], entry[0]))
        error = (
            f"{bad:,} of {tally['lines']:,} lines are bad ({bad / tally['lines']:.1%}); "
            f"`max_bad_share` allows {settings.max_bad_share:.1%}. "
            + "; ".join(f"{reason}: {count:,}" for reason, count in reasons)
            + ". For example: "
            + "; ".join(
                f"{path} at {place:,} ({why}): {text!r}" for path, place, why, text in shown
            )
            + ". Mend the file, or set IMN_LAYOUT or IMN_MAX_BAD_SHARE."
        )
    elif not tally["rows"]:
        error = (
            f"`ratings` has no usable user: none of {tally['lines']:,} lines is an event. "
            f"{tally['unwanted']:,} have a rating below `min_rating` = {settings.min_rating}."
        )
    return tally | {"error": error, "pieces": sorted(tally["pieces"])}


def place_edges(settings: Settings, tally: Tally, before: Tally) -> Tally:
    """Adds the days on which eval and test begin, when splits go by time."""
    edges = (0, 0)
    if not before["error"]:
        edges = histories.boundaries(tally["days"], settings.eval_share, settings.test_share)
    return _carry(before, tally) | {"boundaries": edges}


def check_splits(settings: Settings, tally: Tally, before: Tally) -> Tally:
    """Adds blocks of time, sizes of pools and bounds of lengths; an empty split stops."""
    plan = _carry(before, tally)
    if plan["error"]:
        return plan
    count = {name: tally[name]["targets"] for name in features.SPLITS}
    plan["error"] = _empty_split(settings, count, plan)
    if plan["error"]:
        return plan
    if settings.negatives == "matched":
        blocks = [negatives.time_blocks(tally[name]["days"]) for name in features.SPLITS]
        plan["blocks"] = [first for first, _ in blocks]
        plan["groups"] = [len(first) for first, _ in blocks]
        plan["thresholds"] = [
            int(hashing.threshold(negatives.BLOCK_POOL, size))
            for _, sizes in blocks
            for size in sizes
        ]
    else:
        # `uniform` takes its pool from the counted items, and none from the buckets.
        share = hashing.threshold(negatives.POOL, tally["train_events"])
        plan["groups"] = [1]
        plan["thresholds"] = [int(share) if settings.negatives == "popularity" else 0]
    plan["length_bounds"] = histories.length_bounds(tally["lengths"])
    return plan


def close_pools(settings: Settings, tally: Tally, before: Tally) -> Tally:
    """Adds what the pools and the counts of items came to."""
    del settings
    plan = _carry(before, tally)
    return plan | {"pooled_items": plan.get("items", 0)}


def _carry(before: Tally, tally: Tally) -> Tally:
    """The plan so far and a new tally; its counts join the others."""
    return before | tally | {"stages": before["stages"] + tally.get("stages", [])}


def _empty_split(settings: Settings, count: dict[str, int], plan: Tally) -> str:
    empty = [name for name in features.SPLITS if not count[name]]
    if not empty:
        return ""
    if settings.split == "temporal":
        edges = " and ".join(_date(day) for day in plan["boundaries"])
        edges = f", eval and test begin on {edges}"
    else:
        edges = ""
    return (
        f"The split {' and '.join(empty)} is empty: with split={settings.split}, "
        f"shift d={settings.shift}, min_history_length={settings.min_history_length}, "
        f"eval_share={settings.eval_share} and test_share={settings.test_share}, "
        f"{plan['events']:,} events of {plan['users']:,} users give "
        + ", ".join(f"{count[name]:,} targets to {name}" for name in features.SPLITS)
        + f"{edges}. Give more ratings, or change these settings."
    )


def _write_result(tally: Tally, job: Job, plan: Tally) -> None:
    result = _carry(plan, tally)
    if not result["error"]:
        count = {name: tally[name]["positives"] for name in features.SPLITS}
        result["error"] = _empty_split(job.settings, count, result)
    for name in ("days", "lengths", "pieces"):
        result.pop(name, None)
    with fileio.open(os.path.join(job.folder, "result.json"), "w") as file:
        file.write(json.dumps(result))


def _report(
    job: Job, paths: list[str], ranges: list[files.Range], result: Tally, seconds: float
) -> Tally:
    settings = job.settings
    spans: dict[str, tuple[float, float]] = {}
    for name, start, end, _ in result["stages"]:
        first, last = spans.get(name, (start, end))
        spans[name] = (min(first, start), max(last, end))
    found = {part.path: part.layout for part in ranges}
    temporal = settings.split == "temporal"
    return {
        "files": [
            {"path": path, "layout": found[path].kind, "milliseconds": found[path].milliseconds}
            for path in paths
        ],
        "lines": result["lines"],
        "bad_lines": {
            reason: {"lines": count, "share": count / result["lines"]}
            for reason, count in sorted(result["bad"].items())
        },
        "below_min_rating": result["unwanted"],
        "events": result["events"],
        "duplicates": result["duplicates"],
        "users": result["users"],
        "training_items": result["items"],
        "split": settings.split,
        "eval_begins": _date(result["boundaries"][0]) if temporal else None,
        "test_begins": _date(result["boundaries"][1]) if temporal else None,
        "splits": {name: result[name] for name in features.SPLITS},
        "windows_dropped_by_cap": result["capped"],
        "same_day": settings.same_day,
        "negatives": {
            "kind": settings.negatives,
            "pools": sum(result["groups"]),
            "beyond_their_block": result["widened"],
            "targets_without": result["without_negative"],
        },
        "history_buckets": {
            "medium_from": result["length_bounds"][0],
            "long_from": result["length_bounds"][1],
        },
        "buckets": job.buckets,
        "seconds": {
            "all": round(seconds, 2),
            **{name: round(last - first, 2) for name, (first, last) in spans.items()},
        },
        "peak_memory_of_a_worker_mb": max(memory for *_, memory in result["stages"]) // 1024,
    }


def _date(day: int) -> str:
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=day)).isoformat()
