"""The example encoder of ingestion beside tfx_bsl's, on the same samples, in processor time.

tfx_bsl takes each column of a batch as an array of lists, so a history is first taken out of the
events and padded to L values. Ours joins slices of events that are encoded already, and encodes a
history once for its positive and its negative.

Example: python -m benchmarks.ingestion.encoder
"""

import itertools
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from tfx_bsl.coders import example_coder

from pipeline.ingest import example_encoder
from transforms import features

EVENTS, ITEMS, USERS = 200_000, 50_000, 1_000
TARGETS = 6_000  # each gives two Examples
LENGTH = 100  # L
_VALUES = 1 << 16  # history positions encoded at once, as in ingestion


class Samples:
    """Random samples whose histories have `mean` events on average, at most `LENGTH`."""

    def __init__(self, mean: int, targets: int = TARGETS):
        rng = np.random.default_rng(0)
        self.users = pa.array([b"A%013d" % user for user in range(USERS)])
        self.items = pa.array([b"B%09d" % item for item in rng.integers(0, ITEMS, EVENTS)])
        self.time = np.sort(rng.integers(1_300_000_000, 1_500_000_000, EVENTS))
        self.target = rng.integers(2 * LENGTH, EVENTS, targets)
        drawn = rng.geometric(1 / mean, targets) if mean < LENGTH else np.full(targets, LENGTH)
        self.length = np.minimum(LENGTH, drawn)
        self.user = rng.integers(0, USERS, targets)
        self.history_bucket = rng.integers(0, len(features.HISTORY_BUCKETS), targets)
        self.target_bucket = rng.integers(0, len(features.TARGET_BUCKETS), targets)
        # Of the positive, of the negative.
        self.candidates = self.target, rng.integers(0, EVENTS, targets)

    def ours(self) -> list[bytes]:
        """Serialized Examples, a positive and its negative in turn."""
        encoder = example_encoder.Encoder(self.users, self.items, self.time, LENGTH)
        endings = [
            example_encoder.targets(self.items.take(pa.array(rows)), self.target_bucket, label)
            for rows, label in zip(self.candidates, (1, 0), strict=True)
        ]
        result: list[bytes] = []
        for part in self._parts():
            end = self.target[part]
            histories = encoder.histories(
                self.user[part], end - self.length[part], end, end, self.history_bucket[part]
            )
            pair = [
                example_encoder.examples(histories, [each[index] for index in part])
                for each in endings
            ]
            result += itertools.chain.from_iterable(zip(*pair, strict=True))
        return result

    def tfx_bsl(self) -> list[bytes]:
        """The same by tfx_bsl; its columns are made without a line of Python per sample."""
        coder = example_coder.RecordBatchToExamplesEncoder()
        items = pa.concat_arrays([self.items, pa.array([b""])])
        time_ = np.append(self.time, 0)
        buckets = pa.array([name.encode() for name in features.HISTORY_BUCKETS])
        target_buckets = pa.array([name.encode() for name in features.TARGET_BUCKETS])
        result: list[bytes] = []
        for part in self._parts():
            end, length = self.target[part], self.length[part]
            place = (end - length)[:, None] + np.arange(LENGTH)
            place = np.where(np.arange(LENGTH) < length[:, None], place, EVENTS).reshape(-1)
            shared = {
                features.USER_ID: _lists(self.users.take(pa.array(self.user[part]))),
                features.HISTORY_ITEM: _lists(items.take(pa.array(place)), LENGTH),
                features.HISTORY_TIME: _lists(pa.array(time_[place]), LENGTH),
                features.HISTORY_LENGTH: _lists(pa.array(length)),
                features.TARGET_TIME: _lists(pa.array(self.time[end])),
                features.HISTORY_BUCKET: _lists(buckets.take(pa.array(self.history_bucket[part]))),
                features.TARGET_BUCKET: _lists(
                    target_buckets.take(pa.array(self.target_bucket[part]))
                ),
            }
            pair = []
            for rows, label in zip(self.candidates, (1, 0), strict=True):
                columns = shared | {
                    features.TARGET_ITEM: _lists(self.items.take(pa.array(rows[part]))),
                    features.LABEL: _lists(pa.array(np.full(len(part), label))),
                }
                batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
                pair.append(coder.encode(batch))
            result += itertools.chain.from_iterable(zip(*pair, strict=True))
        return result

    def _parts(self) -> list[np.ndarray]:
        targets, step = len(self.target), _VALUES // LENGTH
        return np.split(np.arange(targets), range(step, targets, step))


def _lists(values: pa.Array, width: int = 1) -> pa.ListArray:
    offsets = np.arange(0, len(values) + 1, width, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _microseconds(encode: Callable[[], list[bytes]]) -> float:
    start = time.process_time()
    count = len(encode())
    return (time.process_time() - start) / count * 1e6


def main() -> None:
    """Prints the processor time of an Example: medians of five rounds, in turn."""
    for mean in (10, LENGTH):
        samples = Samples(mean)
        rounds = [(_microseconds(samples.ours), _microseconds(samples.tfx_bsl)) for _ in range(5)]
        ours, theirs = np.median(rounds, axis=0)
        print(
            f"L = {LENGTH}, {samples.length.mean():.0f} events in a history: {ours:.2f} us an "
            f"Example, tfx_bsl {theirs:.2f}, {theirs / ours:.1f} times"
        )


if __name__ == "__main__":
    main()
