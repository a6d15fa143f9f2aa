"""The stages of the item table: each takes a range or a bucket of items and returns counts."""

import dataclasses
import os
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tfx.dsl.io import fileio

from pipeline.errors import InputError
from pipeline.ingest import arrow_files, hashing
from pipeline.ingest.item_counts import training_events
from pipeline.ingest.sources.interpret import LONGEST_ID
from pipeline.ingest.sources.records import Range
from pipeline.items import source, values
from pipeline.items.fields import NUMBER, Choice
from transforms import item_table

Tally = dict[str, Any]
MOST_VALUES = 16  # of a category that an item keeps, the first ones
_BATCH = 20_000  # rows a batch
_SHIFT = 40  # bits of a place within its range


@dataclasses.dataclass(frozen=True)
class Job:
    """The arguments that all workers share."""

    request: Any
    choice: Choice
    folder: str
    output: str
    buckets: int

    def path(self, kind: str, name: int | str) -> str:
        """The path of a file between stages."""
        return os.path.join(self.folder, f"{kind}-{name}")

    @property
    def schema(self) -> pa.Schema:
        """The columns of a row: its id, its place, its fields, and its title last."""
        kinds = [
            pa.float64() if field.kind == NUMBER else pa.list_(pa.string())
            for field in self.choice.fields
        ]
        named = [(f"field_{number}", kind) for number, kind in enumerate(kinds)]
        first = [("item", pa.binary()), ("place", pa.int64())]
        return pa.schema([*first, *named, ("title", pa.string())])


def partition(job: Job, part: Range) -> Tally:
    """Reads a range and distributes its rows to buckets of items."""
    tally: Tally = {"lines": 0, "bad": {}, "examples": [], "pieces": [], "damaged": []}
    tally["odd"] = {field.name: {} for field in job.choice.fields}
    columns: list[list[Any]] = [[] for _ in job.schema]
    try:
        for place, row in source.read(part):
            tally["lines"] += 1
            item, reason = _item(row, job.choice.item)
            if reason:
                tally["bad"][reason] = tally["bad"].get(reason, 0) + 1
                if len(tally["examples"]) < 3:
                    tally["examples"].append((part.path, place, reason, str(row)[:200]))
                continue
            assert isinstance(row, dict)
            columns[0].append(item)
            columns[1].append((part.number << _SHIFT) | place)
            title = row.get(job.choice.title) if job.choice.title else None
            columns[-1].append(values.title(title) or None)
            for column, field in zip(columns[2:-1], job.choice.fields, strict=True):
                raw = row.get(field.name)
                read = values.number(raw) if field.kind == NUMBER else values.categories(raw)
                column.append(read[0])
                if read[1]:
                    odd = tally["odd"][field.name]
                    odd[read[1]] = odd.get(read[1], 0) + 1
            if len(columns[0]) == _BATCH:
                _write(job, part, columns, tally)
        _write(job, part, columns, tally)
    except InputError as error:
        tally["damaged"] = [str(error)]
    return tally


def _item(row: dict[str, Any] | str, column: str) -> tuple[bytes, str]:
    """The id of a row, and the reason why it has none, or ""."""
    if isinstance(row, str):
        return b"", row
    item = values.item_id(row.get(column)).encode("utf-8", "replace")
    if not item:
        return b"", "no id"
    if b"\n" in item:
        return b"", "a line break in the id"
    return item, f"id longer than {LONGEST_ID} bytes" if len(item) > LONGEST_ID else ""


def _write(job: Job, part: Range, columns: list[list[Any]], tally: Tally) -> None:
    if not columns[0]:
        return
    arrays = [
        pa.array(column, field.type) for column, field in zip(columns, job.schema, strict=True)
    ]
    batch = pa.RecordBatch.from_arrays(arrays, schema=job.schema)
    path = job.path("rows", f"{part.number:05}-{len(tally['pieces']):05}")
    bucket = hashing.ranges(hashing.hash_strings(batch.column(0)), job.buckets)
    arrow_files.write_partitions(path, batch, bucket, job.buckets)
    tally["pieces"].append(path)
    for column in columns:
        column.clear()


def merge(job: Job, bucket: int, plan: Tally) -> Tally:
    """One row for each item of a bucket, and how often each value is among training items.

    Of several rows of an item, a field has the value of the first row that has one.
    """
    table = arrow_files.read_partition(plan["pieces"], bucket)
    table = table.take(pc.sort_indices(table, [("item", "ascending"), ("place", "ascending")]))
    table, repeated, conflicts, example = _first_of_each(table.combine_chunks())
    arrow_files.write(job.path("items", bucket), table.schema, table.to_batches())
    tally: Tally = {"items": table.num_rows, "repeated": repeated, "conflicts": conflicts}
    tally["conflict_examples"] = [example] if example else []
    tally |= {"known_events": 0, "known_items": 0, "bare": 0, "filled": {}, "trained": {}}
    trained = np.ones(table.num_rows, bool)
    if job.request.item_counts:
        hashes, counts = training_events(job.request.item_counts)
        found, at = _find(hashes, _whole_hashes(table["item"]))
        trained = found
        tally["known_items"] = int(found.sum())
        tally["known_events"] = int(counts[at[found]].sum()) if len(counts) else 0
    has_any = np.zeros(table.num_rows, bool)
    for number, field in enumerate(job.choice.fields):
        column = table[f"field_{number}"].combine_chunks()
        has = _filled(column, field.kind)
        has_any |= has
        tally["filled"][field.name] = int(has.sum())
        tally["trained"][field.name] = int((has & trained).sum())
        if field.kind == NUMBER:
            seen = column.filter(pa.array(has & trained))
            batch = pa.record_batch([seen], ["value"])
        else:
            flat = column.filter(pa.array(trained)).flatten()
            counted = flat.value_counts()
            batch = pa.record_batch(
                [counted.field("values"), counted.field("counts")], ["value", "count"]
            )
        arrow_files.write(job.path(f"values-{number}", bucket), batch.schema, [batch])
    tally["bare"] = int((~has_any).sum())
    return tally


def _whole_hashes(items: pa.ChunkedArray) -> np.ndarray:
    chunk = items.combine_chunks()
    if isinstance(chunk, pa.ChunkedArray):
        chunk = chunk.chunk(0) if chunk.num_chunks else pa.array([], pa.binary())
    return hashing.hash_strings(chunk)


def _find(hashes: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the wanted hashes are among sorted ones, and where."""
    if not len(hashes):
        return np.zeros(len(wanted), bool), np.zeros(len(wanted), np.int64)
    at = np.searchsorted(hashes, wanted).clip(max=len(hashes) - 1)
    return hashes[at] == wanted, at


def _filled(column: pa.Array, kind: str) -> np.ndarray:
    if kind == NUMBER:
        return column.is_valid().to_numpy(zero_copy_only=False)
    return pc.greater(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)


def _first_of_each(table: pa.Table) -> tuple[pa.Table, int, int, str]:
    """The table with one row for each item; rows left out, contradicting items, one of them."""
    items = table["item"].to_pylist()
    starts = [i for i in range(len(items)) if i == 0 or items[i] != items[i - 1]]
    if len(starts) == len(items):
        return table, 0, 0, ""
    conflicts, example, rows = 0, "", table.take(pa.array(starts, pa.int64())).to_pylist()
    names = [name for name in table.column_names if name.startswith("field_")]
    ends = [*starts[1:], len(items)]
    for row, start, end in zip(rows, starts, ends, strict=True):
        if end - start == 1:
            continue
        contradicts = False
        for other in table.slice(start + 1, end - start - 1).to_pylist():
            row["title"] = row["title"] or other["title"]
            for name in names:
                empty = row[name] is None or row[name] == []
                if empty:
                    row[name] = other[name]
                elif other[name] not in (None, [], row[name]):
                    contradicts = True
        if contradicts:
            conflicts += 1
            example = example or row["item"].decode("utf-8", "backslashreplace")
    return (
        pa.Table.from_pylist(rows, table.schema).combine_chunks(),
        len(items) - len(starts),
        conflicts,
        example,
    )


def encode(job: Job, bucket: int, plan: Tally) -> Tally:
    """The value ids of a bucket's items, as arrays, and their raw ids."""
    table = arrow_files.read(job.path("items", bucket)).combine_chunks()
    tally: Tally = {"widest": {}, "cut": {}, "unknown": {}}
    with fileio.open(job.path("ids", bucket), "wb") as file:
        file.write(b"".join(item + b"\n" for item in table["item"].to_pylist()))
    with fileio.open(job.path("titles", bucket), "wb") as file:
        lines = (f"{title or ''}\n" for title in table["title"].to_pylist())
        file.write("".join(lines).encode("utf-8", "replace"))
    for number, (field, made) in enumerate(zip(job.choice.fields, plan["fields"], strict=True)):
        column = table[f"field_{number}"].combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = (
                column.chunk(0)
                if column.num_chunks
                else pa.array([], job.schema.field(f"field_{number}").type)
            )
        if field.kind == NUMBER:
            ids, unknown, cut = _bucketed(column, made["bounds"]), 0, 0
        else:
            vocabulary = _vocabulary(job.path("vocabulary", number))
            ids, unknown, cut = _looked_up(column, vocabulary)
        with fileio.open(job.path(f"encoded-{number}", bucket), "wb") as file:
            np.save(file, ids)
        tally["widest"][field.name] = [ids.shape[1]]
        tally["unknown"][field.name] = unknown
        tally["cut"][field.name] = cut
    return tally


def _vocabulary(path: str) -> pa.Array:
    with fileio.open(path, "rb") as file:
        return pa.array(file.read().decode("utf-8").split("\n")[:-1], pa.string())


def _bucketed(column: pa.Array, bounds: list[float]) -> np.ndarray:
    has = column.is_valid().to_numpy(zero_copy_only=False)
    numbers = column.fill_null(0.0).to_numpy(zero_copy_only=False)
    ids = item_table.FIRST_VALUE + np.searchsorted(np.array(bounds), numbers, side="right")
    return np.where(has, ids, item_table.MISSING).astype(np.int32)[:, None]


def _looked_up(column: pa.Array, vocabulary: pa.Array) -> tuple[np.ndarray, int, int]:
    """Value ids `(C, M)`, first values first; values that are unknown, and values beyond M."""
    flat = column.flatten()
    index = pc.index_in(flat, value_set=vocabulary)
    known = index.is_valid().to_numpy(zero_copy_only=False)
    value = index.fill_null(0).to_numpy(zero_copy_only=False)
    length = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(column)), length)[known]
    value = value[known]
    start = np.searchsorted(row, row, side="left")
    position = np.arange(len(row)) - start
    kept = position < MOST_VALUES
    width = max(1, int(position[kept].max(initial=0)) + 1)
    ids = np.zeros((len(column), width), np.int32)
    ids[row[kept], position[kept]] = item_table.FIRST_VALUE + value[kept]
    ids[ids[:, 0] == 0, 0] = item_table.MISSING
    return ids, int((~known).sum()), int((~kept).sum())
