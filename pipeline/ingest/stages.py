"""What a worker does at each stage: a range of a file or a bucket of users in, counts out.

Rows travel between stages in files under the folder of the job, named after
the range or the bucket, so that any worker may repeat any step.
"""

import dataclasses
import functools
import json
import os
import uuid
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx.dsl.io import fileio

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.ingest import examples, files, hashing, histories, negatives, readers, spill
from pipeline.ingest.layouts import ITEM, TIME, USER
from transforms import features

Tally = dict[str, Any]

_SAMPLE = 5  # keeps the keys of samples apart from other hashes
_BAD_LINES_KEPT = 10_000  # of a block, in the side output
_ITEM_SCHEMA = pa.schema([("hash", pa.uint64()), ("item", pa.binary()), ("count", pa.int64())])
_GZIP = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)


@dataclasses.dataclass(frozen=True)
class Job:
    """What all workers know.

    Attributes:
      settings: of the run.
      folder: where stages leave files for each other.
      output: the folder of the examples.
      buckets: how many buckets of users, and of items, there are.
      now: seconds since 1970 when the job began.
    """

    settings: Settings
    folder: str
    output: str
    buckets: int
    now: float

    def partition(self, part: files.Range) -> Tally:
        """Parses a range and sends its events to buckets of users."""
        tally: Tally = {"lines": 0, "unwanted": 0, "rows": 0, "bad": {}, "examples": []}
        tally |= {"pieces": [], "damaged": []}
        try:
            for number, block in enumerate(files.read_blocks(part)):
                self._partition_block(part, number, block, tally)
        except InputError as error:
            tally["damaged"] = [str(error)]
        return tally

    def _partition_block(
        self, part: files.Range, number: int, block: files.Block, tally: Tally
    ) -> None:
        parsed = readers.parse(part, block, self.settings.min_rating, self.now)
        name = f"{part.number:05}-{number:05}"
        tally["lines"] += parsed.lines
        tally["unwanted"] += parsed.unwanted
        tally["rows"] += len(parsed.events)
        for place, reason, text in parsed.bad:
            tally["bad"][reason] = tally["bad"].get(reason, 0) + 1
            if len(tally["examples"]) < 3:
                tally["examples"].append((part.path, place, reason, text))
        if parsed.bad:
            self._keep_bad_lines(name, part, parsed.bad[:_BAD_LINES_KEPT])
        if len(parsed.events):
            users = hashing.hash_strings(parsed.events.column(0))
            path = self._path("events", name)
            spill.write_partitions(
                path, parsed.events, hashing.ranges(users, self.buckets), self.buckets
            )
            tally["pieces"].append(path)

    def _keep_bad_lines(self, name: str, part: files.Range, bad: list) -> None:
        where = "line" if part.compressed else "offset"
        temporary = self._path("bad", uuid.uuid4().hex)
        with fileio.open(temporary, "w") as file:
            for place, reason, text in bad:
                entry = {"file": part.path, where: place, "reason": reason, "text": text}
                file.write(json.dumps(entry) + "\n")
        fileio.rename(
            temporary,
            os.path.join(self.output, "bad_lines", f"part-{name}.jsonl"),
            overwrite=True,
        )

    def sort(self, bucket: int, plan: Tally) -> Tally:
        """Puts a bucket's events in order, once each, and counts them by day."""
        table = spill.read_partition(plan["pieces"], bucket)
        events, duplicates = histories.sort_events(table, self.settings.sampling_seed)
        columns = {
            USER: pa.DictionaryArray.from_arrays(pa.array(events.user), events.users),
            ITEM: pa.DictionaryArray.from_arrays(pa.array(events.item), events.items),
            TIME: pa.array(events.time),
            "fresh": pa.array(events.fresh),
        }
        spill.write(self._path("sorted", bucket), pa.table(columns).to_batches())
        days, count = np.unique(events.day, return_counts=True)
        return {
            "events": len(events.time),
            "duplicates": duplicates,
            "users": len(events.users),
            "days": dict(zip(days.tolist(), count.tolist(), strict=True)),
        }

    def count(self, bucket: int, plan: Tally) -> Tally:
        """Chooses a bucket's targets, and counts them, its users and its training items."""
        events, split, targets = self._targets(bucket, plan)
        lengths = histories.last_lengths(events, targets)
        tally: Tally = {"capped": targets.capped, "lengths": {}, "train_events": 0}
        for number, name in enumerate(features.SPLITS):
            of_split = targets.split == number
            day, count = np.unique(events.day[targets.row[of_split]], return_counts=True)
            user, first = np.unique(events.user[targets.row[of_split]], return_index=True)
            tally[name] = {
                "targets": int(of_split.sum()),
                "users": len(user),
                "days": dict(zip(day.tolist(), count.tolist(), strict=True)),
            }
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
        spill.write_partitions(
            self._path("items", bucket), batch, hashing.ranges(hashes, self.buckets), self.buckets
        )
        return tally

    def count_items(self, part: int, plan: Tally) -> Tally:
        """Adds up the training events of the items whose hash lies in a range of hashes."""
        table = spill.read_partition(
            [self._path("items", bucket) for bucket in range(self.buckets)], part
        )
        hashes, first, inverse = np.unique(
            table["hash"].to_numpy(), return_index=True, return_inverse=True
        )
        count = np.bincount(inverse.reshape(-1), table["count"].to_numpy(), len(hashes))
        ids = table["item"].take(pa.array(first)).combine_chunks()
        counted = pa.table(
            [pa.array(hashes), ids, pa.array(count.astype(np.int64))], _ITEM_SCHEMA.names
        )
        spill.write(self._path("counted", part), counted.to_batches() or [_no_rows(_ITEM_SCHEMA)])
        return {"items": len(hashes)}

    def pool(self, bucket: int, plan: Tally) -> Tally:
        """Gives a bucket's share of the items that negatives are drawn from."""
        events, split, targets = self._targets(bucket, plan)
        if self.settings.negatives == "matched":
            rows, group = targets.row, self._groups(events, targets, plan)
        else:
            rows = np.flatnonzero(split == histories.TRAIN)
            group = np.zeros(len(rows), np.int64)
        users = hashing.hash_strings(events.users)[events.user[rows]]
        items = hashing.hash_strings(events.items)[events.item[rows]]
        place = negatives.pool_places(
            self.settings.sampling_seed, users, items, events.time[rows].astype(np.uint64)
        )
        kept = np.flatnonzero(place <= np.array(plan["thresholds"], np.uint64)[group])
        columns = [
            pa.array(group[kept].astype(np.int32)),
            pa.array(place[kept]),
            pa.array(items[kept]),
            events.items.take(pa.array(events.item[rows[kept]])),
        ]
        batch = pa.RecordBatch.from_arrays(columns, schema=negatives.POOL_SCHEMA)
        spill.write(self._path("pool", bucket), [batch])
        return {"pooled": len(kept)}

    def write(self, bucket: int, plan: Tally) -> Tally:
        """Cuts a bucket's windows, draws their negatives and writes its shard of each split."""
        events, _, targets = self._targets(bucket, plan)
        each = self.settings.negatives_per_positive
        row = targets.row
        pools = _pools(self, tuple(plan["groups"]), plan["pooled_items"])
        user_hash = hashing.hash_strings(events.users)
        item_hash = hashing.hash_strings(events.items)
        record = np.sort(hashing.mix(user_hash[events.user], item_hash[events.item]))
        user, item = user_hash[events.user[row]], item_hash[events.item[row]]
        group = self._groups(events, targets, plan)
        drawn = np.empty((each, len(row)), np.int64)
        widened = 0
        for k in range(each):
            key = hashing.mix(
                self.settings.sampling_seed,
                _SAMPLE,
                user,
                item,
                events.time[row].astype(np.uint64),
                k,
            )
            drawn[k], wide = negatives.draw(pools, group, key, user, record)
            widened += wide
        served = (drawn >= 0).all(axis=0)

        bounds = np.array(plan["length_bounds"])
        length = histories.last_lengths(events, targets)
        history_bucket = np.searchsorted(bounds, length, side="right")
        # Items of targets and of negatives, once each, with what follows the history.
        own, own_at = np.unique(events.item[row], return_inverse=True)
        positive = self._endings(events.items, own, item_hash[own], 1)
        other, other_at = np.unique(drawn.reshape(-1).clip(min=0), return_inverse=True)
        if len(pools.items):
            negative = self._endings(pools.items, other, pools.hashes[other], 0)
        other_at = other_at.reshape(drawn.shape)

        encoder = examples.Encoder(
            events.users.to_pylist(),
            events.items.take(pa.array(events.item)),
            events.time,
            self.settings.max_history_length,
        )
        tally: Tally = {"widened": widened, "without_negative": int((~served).sum())}
        for number, name in enumerate(features.SPLITS):
            chosen = np.flatnonzero((targets.split == number) & served)
            tally[name] = {
                "positives": len(chosen),
                "samples": len(chosen) * (1 + each),
                "users": len(np.unique(events.user[row[chosen]])),
            }
            if not len(chosen):
                continue
            encoded = encoder.histories(
                events.user[row[chosen]],
                targets.begin[chosen],
                targets.end[chosen],
                row[chosen],
                history_bucket[chosen],
            )
            temporary = self._path("shard", uuid.uuid4().hex)
            with tf.io.TFRecordWriter(temporary, _GZIP) as writer:
                for history, at, others in zip(
                    encoded, own_at[chosen].tolist(), other_at[:, chosen].T.tolist(), strict=True
                ):
                    writer.write(examples.example(history, positive[at]))
                    for other_ in others:
                        writer.write(examples.example(history, negative[other_]))
            shard = f"data_tfrecord-{bucket:05}-of-{self.buckets:05}.gz"
            fileio.rename(
                temporary, os.path.join(self.output, f"Split-{name}", shard), overwrite=True
            )
        return tally

    def _endings(self, ids: pa.Array, rows: np.ndarray, hashes: np.ndarray, label: int) -> list:
        count = np.zeros(len(rows), np.int64)
        part = hashing.ranges(hashes, self.buckets)
        for number in np.unique(part).tolist():
            table = spill.read(self._path("counted", number))
            known = table["hash"].to_numpy()
            asked = np.flatnonzero(part == number)
            found = asked[negatives.contains(known, hashes[asked])]
            count[found] = table["count"].to_numpy()[np.searchsorted(known, hashes[found])]
        bucket = np.searchsorted(features.TARGET_BUCKET_BOUNDS, count, side="right") - 1
        return examples.targets(ids.take(pa.array(rows)).to_pylist(), bucket.tolist(), label)

    def _targets(
        self, bucket: int, plan: Tally
    ) -> tuple[histories.Events, np.ndarray, histories.Targets]:
        table = spill.read(self._path("sorted", bucket)).combine_chunks()
        user, item = (_whole(table[name]) for name in (USER, ITEM))
        events = histories.Events(
            users=user.dictionary,
            items=item.dictionary,
            user=user.indices.to_numpy(),
            item=item.indices.to_numpy(),
            time=table[TIME].to_numpy(),
            fresh=table["fresh"].to_numpy(),
        )
        split = histories.splits(events, self.settings, plan["boundaries"])
        return events, split, histories.choose_targets(events, split, self.settings)

    def _groups(
        self, events: histories.Events, targets: histories.Targets, plan: Tally
    ) -> np.ndarray:
        """The pool that each target's negatives come from, shape (T,)."""
        group = np.zeros(len(targets.row), np.int64)
        if self.settings.negatives == "matched":
            day = events.day[targets.row]
            for number, first_days in enumerate(plan["blocks"]):
                of_split = targets.split == number
                block = np.searchsorted(first_days, day[of_split], side="right") - 1
                group[of_split] = sum(plan["groups"][:number]) + block
        return group

    def pool_paths(self) -> list[str]:
        """Files of `pool`, of all buckets."""
        return [self._path("pool", bucket) for bucket in range(self.buckets)]

    def counted_paths(self) -> list[str]:
        """Files of `count_items`, in the order of the hashes."""
        return [self._path("counted", part) for part in range(self.buckets)]

    def _path(self, kind: str, name: int | str) -> str:
        return os.path.join(self.folder, f"{kind}-{name}")


@functools.lru_cache(maxsize=1)
def _pools(job: Job, groups: tuple[int, ...], items: int) -> negatives.Pools:
    """The pools, read once a process."""
    if job.settings.negatives != "uniform":
        table = pa.concat_tables([spill.read(path) for path in job.pool_paths()])
        return negatives.build_pools(table, list(groups))
    rows = []
    bound = hashing.threshold(negatives.POOL, items)
    for path in job.counted_paths():
        table = spill.read(path).combine_chunks()
        place = negatives.pool_places(job.settings.sampling_seed, table["hash"].to_numpy())
        chosen = table.filter(pa.array(place <= bound))
        count = len(chosen)
        rows.append(
            pa.table(
                [
                    pa.array(np.zeros(count, np.int32)),
                    pa.array(place[place <= bound]),
                    chosen["hash"],
                    chosen["item"],
                ],
                schema=negatives.POOL_SCHEMA,
            )
        )
    return negatives.build_pools(pa.concat_tables(rows), list(groups))


def _whole(column: pa.ChunkedArray) -> pa.DictionaryArray:
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
