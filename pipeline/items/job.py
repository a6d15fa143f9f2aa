"""The Beam job that makes an item table.

    ranges of files ─ partition ─► buckets of items ─ merge ─► vocabularies ─► encode ─► assemble

As in ingestion, Beam moves references and counts; rows stay in files, one for each bucket of items,
so that memory does not grow with the catalogue.
"""

import dataclasses
import functools
import json
import os
import time
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from absl import logging
from tfx.dsl.io import fileio

from pipeline.errors import InputError
from pipeline.ingest import plans
from pipeline.ingest.sources.records import BLOCK_BYTES, Range
from pipeline.items import checks, fields, source, stages, summary
from pipeline.items.assemble import assemble
from pipeline.progress import Progress
from transforms import item_table

BUCKET_BYTES = 24 << 20  # approximate text of a bucket


@dataclasses.dataclass(frozen=True)
class Request:
    """What to make a table of.

    Attributes:
      items: file or glob of the catalogue.
      item_fields: fields to use; "" chooses by a rule.
      max_bad_share: of lines, and of items with contradictory rows.
      max_vocabulary_size: values of a category that are kept.
      item_counts: the folder in which ingestion left the training events of each item. "" leaves
        vocabularies and buckets to `frozen`.
      frozen: the folder of a table whose fields, vocabularies and buckets stay; "" makes new ones.
    """

    items: str
    item_fields: str
    max_bad_share: float
    max_vocabulary_size: int
    item_counts: str = ""
    frozen: str = ""


def make_item_table(
    request: Request,
    output: str,
    pipeline: beam.Pipeline,
    range_bytes: int = BLOCK_BYTES,
    bucket_bytes: int = BUCKET_BYTES,
) -> dict[str, Any]:
    """Writes the table and its `report.json`.

    Args:
      request: what to make it of.
      output: the folder of the table, which all workers can access.
      pipeline: an empty Beam pipeline; this function runs it.
      range_bytes: bytes of text that a worker parses at once.
      bucket_bytes: approximate bytes of text in a bucket of items.

    Returns:
      the content of `report.json`.

    Raises:
      InputError: if the catalogue cannot be read, has too many bad or contradictory rows, knows
        less than half of the training events, or has a field that is nearly empty or different for
        every item.
    """
    start = time.time()
    ranges, text = source.plan(request.items, range_bytes)
    paths = list(dict.fromkeys(part.path for part in ranges))
    head = source.head(paths)
    if not head:
        raise InputError(
            f"`items` must hold rows. {paths[0]!r} has none that can be read. Give JSON lines, "
            "Parquet, or a table with a header."
        )
    frozen = item_table.load(request.frozen) if request.frozen else None
    if frozen:
        names = list(dict.fromkeys(name for row in head for name in row))
        chosen = tuple(fields.Field(field.name, field.kind) for field in frozen.fields)
        missing = [field.name for field in chosen if field.name not in names]
        if missing:
            raise InputError(
                f"`items` must have the fields of the served model. {paths[0]!r} lacks "
                f"{', '.join(missing)}. Received: {', '.join(names)}."
            )
        item, title = fields.item_column(paths[0], names), fields.title_column(names)
        choice = fields.Choice(item, chosen, asked=True, title=title)
    else:
        choice = fields.choose(paths[0], head, request.item_fields)
    folder = os.path.join(output, "spill")
    job = stages.Job(request, choice, folder, output, max(1, text // bucket_bytes))
    fileio.makedirs(folder)
    try:
        with Progress("ItemTable", _steps(job, len(ranges)), "steps") as progress:
            _build(pipeline, job, ranges, progress.advance)
            pipeline.run().wait_until_finish()
        with fileio.open(os.path.join(folder, "result.json"), "r") as file:
            result = json.load(file)
        if result["error"]:
            raise InputError(result["error"])
    finally:
        fileio.rmtree(folder)
    report = summary.report(choice, result, time.time() - start)
    with fileio.open(os.path.join(output, "report.json"), "w") as file:
        file.write(json.dumps(report, indent=2) + "\n")
    for line in summary.lines(report):
        logging.info("%s", line)
    return report


def _steps(job: stages.Job, ranges: int) -> int:
    """How often a stage runs on a range or bucket."""
    return ranges + len((stages.merge, stages.encode)) * job.buckets


def _build(
    pipeline: beam.Pipeline,
    job: stages.Job,
    ranges: list[Range],
    advance: Callable[[int], None],
) -> None:
    def counted(stage: Callable, *arguments: Any) -> dict[str, Any]:
        tally = stage(job, *arguments)
        advance(1)
        return tally

    def each_bucket(stage: Callable, plan: Any) -> beam.PCollection:
        name = stage.__name__
        return (
            pipeline
            | f"Buckets to {name}" >> beam.Create(range(job.buckets))
            | f"Spread buckets to {name}" >> beam.Reshuffle()
            | name >> beam.FlatMap(_unless_error, functools.partial(counted, stage), plan)
        )

    def total(counts: beam.PCollection, decide: Callable, *before: Any) -> Any:
        name = decide.__name__
        summed = counts | f"Sum for {name}" >> beam.CombineGlobally(plans.add_up)
        return beam.pvalue.AsSingleton(
            summed | name >> beam.Map(functools.partial(decide, job), *before)
        )

    read = (
        pipeline
        | "Ranges" >> beam.Create(ranges)
        | "Spread ranges" >> beam.Reshuffle()
        | "partition" >> beam.Map(functools.partial(counted, stages.partition))
    )
    rows = total(read, checks.check_rows)
    kept = total(each_bucket(stages.merge, rows), checks.vocabularies, rows)
    encoded = each_bucket(stages.encode, kept)
    _ = (
        encoded
        | "Sum" >> beam.CombineGlobally(plans.add_up)
        | "assemble" >> beam.Map(functools.partial(assemble, job), kept)
    )


def _unless_error(bucket: int, stage: Callable, plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [] if plan["error"] else [stage(bucket, plan)]
