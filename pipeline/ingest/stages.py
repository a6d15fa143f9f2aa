"""The stages of ingestion: each takes a range of a file or a bucket of users and returns counts.

Stages hand rows on through files in the folder of the job. A file is named after its range or
bucket, so that any worker may repeat any step.
"""

import dataclasses
import json
import os
import uuid
from typing import Any

import numpy as np
import pyarrow as pa
from tfx.dsl.io import fileio

from pipeline.configs import Ingestion
from pipeline.errors import InputError
from pipeline.ingest import arrow_files, hashing, histories, negatives, shuffle
from pipeline.ingest.sources import reading
from pipeline.ingest.sources.interpret import Parsed
from pipeline.ingest.sources.layout import ITEM, TIME, USER
from pipeline.ingest.sources.records import BadLine, Range
from transforms import features

Tally = dict[str, Any]

ITEM_COUNTS = "item_counts"  # folder of the training events of each item
_BAD_LINES_KEPT = 10_000  # per block
_ITEM_SCHEMA = pa.schema([("hash", pa.uint64()), ("item", pa.binary()), ("count", pa.int64())])


@dataclasses.dataclass(frozen=True)
class Job:
    """The arguments that all workers share.

    Attributes:
      settings: settings of the run.
      folder: folder for files between stages.
      output: folder of the Examples.
      buckets: number of buckets of users, and of items.
      now: start of the job, in seconds since 1970.
    """

    settings: Ingestion
    folder: str
    output: str
    buckets: int
    now: float

    @property
    def levels(self) -> shuffle.Levels:
        """How rows get to their buckets."""
        return shuffle.Levels(self.buckets)

    def targets(
        self, bucket: int, plan: Tally
    ) -> tuple[histories.Events, np.ndarray, histories.Targets]:
        """The events of a bucket, the split of each event, and the targets."""
        table = arrow_files.read(self.path("sorted", bucket)).combine_chunks()
        user, item = (_whole(table[name]) for name in (USER, ITEM))
        events = histories.Events(
            users=user.dictionary,
            items=item.dictionary,
            user=user.indices.to_numpy(),
            item=item.indices.to_numpy(),
            time=table[TIME].to_numpy(),
            fresh=table["fresh"].to_numpy(),
            values={name: _whole(table[name]) for name in features.of_events(table.column_names)},
        )
        split = histories.splits(events, self.settings, plan["boundaries"])
        return events, split, histories.choose_targets(events, split, self.settings)

    def groups(
        self, events: histories.Events, targets: histories.Targets, plan: Tally
    ) -> np.ndarray:
        """The index of each target's pool of negatives, shape (T,)."""
        group = np.zeros(len(targets.row), np.int64)
        if self.settings.negatives == "matched":
            day = events.day[targets.row]
            for number, first_days in enumerate(plan["blocks"]):
                in_split = targets.split == number
                block = np.searchsorted(first_days, day[in_split], side="right") - 1
                group[in_split] = sum(plan["groups"][:number]) + block
        return group

    def path(self, kind: str, name: int | str) -> str:
        """The path of a file between stages."""
        return os.path.join(self.folder, f"{kind}-{name}")


def partition(job: Job, part: Range) -> Tally:
    """Reads a range and distributes its events to buckets of users."""
    tally: Tally = {"lines": 0, "unwanted": 0, "rows": 0, "bad": {}, "examples": []}
    tally |= {"files": {0: []}, "damaged": []}
    try:
        blocks = reading.read(part, job.settings.min_rating, job.now)
        for number, parsed in enumerate(blocks):
            _partition_block(job, part, number, parsed, tally)
    except InputError as error:
        tally["damaged"] = [str(error)]
    return tally


def _partition_block(job: Job, part: Range, number: int, parsed: Parsed, tally: Tally) -> None:
    name = f"{part.number:05}-{number:05}"
    tally["lines"] += parsed.lines
    tally["unwanted"] += parsed.unwanted
    tally["rows"] += len(parsed.events)
    for place, reason, text in parsed.bad:
        tally["bad"][reason] = tally["bad"].get(reason, 0) + 1
        if len(tally["examples"]) < 3:
            tally["examples"].append((part.path, place, reason, text))
    if parsed.bad:
        _write_bad_lines(job, name, part, parsed.bad[:_BAD_LINES_KEPT])
    if len(parsed.events):
        users = hashing.hash_strings(parsed.events.column(0))
        path = job.path("events", name)
        job.levels.write(path, parsed.events, hashing.ranges(users, job.buckets))
        tally["files"][0].append(path)


def _write_bad_lines(job: Job, name: str, part: Range, bad: list[BadLine]) -> None:
    temporary = job.path("bad", uuid.uuid4().hex)
    with fileio.open(temporary, "w") as file:
        for place, reason, text in bad:
            entry = {"file": part.path, part.place: place, "reason": reason, "text": text}
            file.write(json.dumps(entry) + "\n")
    fileio.rename(
        temporary,
        os.path.join(job.output, "bad_lines", f"part-{name}.jsonl"),
        overwrite=True,
    )


def sort(job: Job, bucket: int, plan: Tally) -> Tally:
    """Sorts the events of a bucket, drops repeated ones, and counts them by day."""
    table = job.levels.read(plan["files"], bucket)
    events, duplicates = histories.sort_events(table, job.settings.sampling_seed)
    columns = {
        USER: pa.DictionaryArray.from_arrays(pa.array(events.user), events.users),
        ITEM: pa.DictionaryArray.from_arrays(pa.array(events.item), events.items),
        TIME: pa.array(events.time),
        "fresh": pa.array(events.fresh),
        **events.values,
    }
    table = pa.table(columns)
    arrow_files.write(job.path("sorted", bucket), table.schema, table.to_batches())
    days, on_day = np.unique(events.day, return_counts=True)
    of_user = np.bincount(events.user, minlength=len(events.users))
    fresh_items = np.bincount(events.user[events.fresh], minlength=len(events.users))
    largest = np.argsort(-of_user, kind="stable")[:2].tolist()
    return {
        "largest": [(int(of_user[user]), events.users[user].as_py().decode()) for user in largest],
        "events": len(events.time),
        "duplicates": duplicates,
        "users": len(events.users),
        "users_of_one_item": int(np.count_nonzero(fresh_items == 1)),
        "days": dict(zip(days.tolist(), on_day.tolist(), strict=True)),
    }


def count(job: Job, bucket: int, plan: Tally) -> Tally:
    """Chooses the targets of a bucket; counts targets, users and training items."""
    events, split, targets = job.targets(bucket, plan)
    lengths = histories.last_lengths(events, targets)
    tally: Tally = {"capped": targets.capped, "lengths": {}, "histories": {}}
    for number, name in enumerate(features.SPLITS):
        of_split = targets.split == number
        day, on_day = np.unique(events.day[targets.row[of_split]], return_counts=True)
        user, first = np.unique(events.user[targets.row[of_split]], return_index=True)
        tally[name] = {
            "targets": int(of_split.sum()),
            "users": len(user),
            "days": dict(zip(day.tolist(), on_day.tolist(), strict=True)),
        }
        tally["histories"][name] = by_powers_of_two(targets.length[of_split])
        if number == histories.TRAIN:
            length, users = np.unique(lengths[of_split][first], return_counts=True)
            tally["lengths"] = dict(zip(length.tolist(), users.tolist(), strict=True))
    in_train = events.item[split == histories.TRAIN]
    tally["train_events"] = len(in_train)
    seen = np.bincount(in_train, minlength=len(events.items))
    known = np.flatnonzero(seen)
    ids = events.items.take(pa.array(known))
    hashes = hashing.hash_strings(ids)
    batch = pa.RecordBatch.from_arrays(
        [pa.array(hashes), ids, pa.array(seen[known])], schema=_ITEM_SCHEMA
    )
    path = job.path("items", f"{bucket:05}")
    job.levels.write(path, batch, hashing.ranges(hashes, job.buckets))
    return tally | {"files": {0: [path]}}


def count_items(job: Job, part: int, plan: Tally) -> Tally:
    """Counts the training events of each item in a range of hashes."""
    table = job.levels.read(plan["files"], part)
    hashes, first, inverse = np.unique(
        table["hash"].to_numpy(), return_index=True, return_inverse=True
    )
    count = np.bincount(inverse.reshape(-1), table["count"].to_numpy(), len(hashes))
    ids = table["item"].take(pa.array(first)).combine_chunks()
    columns = [pa.array(hashes), ids, pa.array(count.astype(np.int64))]
    counted = pa.RecordBatch.from_arrays(columns, schema=_ITEM_SCHEMA)
    arrow_files.write(job.path("counted", part), _ITEM_SCHEMA, [counted])
    # Beside the Examples, for Transform: it sees an event once for each window that holds it.
    path = os.path.join(job.output, ITEM_COUNTS, f"{part:05}")
    arrow_files.write(path, _ITEM_SCHEMA, [counted])
    return {
        "items": len(hashes),
        "frequency": {
            "items": by_powers_of_two(count),
            "events": by_powers_of_two(count, weight=count),
        },
    }


def by_powers_of_two(values: np.ndarray, weight: np.ndarray | None = None) -> dict[int, int]:
    """A histogram of counts `(N,)` with the bins 0, 1, 2 to 3, 4 to 7 and so on, by lower bound.

    Args:
      values: at least 0.
      weight: how much each value counts `(N,)`; None counts it once.
    """
    bins = np.frexp(values.astype(np.float64))[1]  # 0 for 0, else 1 + floor(log2)
    total = np.bincount(bins, weight)
    return {1 << (k - 1) if k else 0: int(total[k]) for k in np.flatnonzero(total).tolist()}


def pool(job: Job, bucket: int, plan: Tally) -> Tally:
    """Writes the items that a bucket contributes to the pools of negatives."""
    events, split, targets = job.targets(bucket, plan)
    if job.settings.negatives == "matched":
        rows, group = targets.row, job.groups(events, targets, plan)
    else:
        rows = np.flatnonzero(split == histories.TRAIN)
        group = np.zeros(len(rows), np.int64)
    users = hashing.hash_strings(events.users)[events.user[rows]]
    items = hashing.hash_strings(events.items)[events.item[rows]]
    place = negatives.pool_places(
        job.settings.sampling_seed, users, items, events.time[rows].astype(np.uint64)
    )
    kept = np.flatnonzero(place <= np.array(plan["thresholds"], np.uint64)[group])
    columns = [
        pa.array(group[kept].astype(np.int32)),
        pa.array(place[kept]),
        pa.array(items[kept]),
        events.items.take(pa.array(events.item[rows[kept]])),
    ]
    batch = pa.RecordBatch.from_arrays(columns, schema=negatives.POOL_SCHEMA)
    arrow_files.write(job.path("pool", bucket), batch.schema, [batch])
    return {"pooled": len(kept)}


def _whole(column: pa.ChunkedArray) -> pa.DictionaryArray:
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
