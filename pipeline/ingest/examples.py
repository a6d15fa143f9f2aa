"""Samples as serialized tf.Examples, without building one.

A window is a run of its user's events, so the bytes of its history are a slice
of the bytes of all events, which are encoded once. What is left to do for a
sample is to join a dozen pieces. The C++ encoder of tfx_bsl gives examples that
parse to the same; a test compares them.
"""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import features

_TIME_BYTES = 5  # of a varint of 2^28 to 2^35 - 1: seconds from 1978 to 3058


class Encoder:
    """Encodes samples of the events it is given.

    Args:
      users: ids of the users, U of them.
      items: id of each event's item, N of them.
      time: seconds since 1970 of each event, shape (N,).
      max_history_length: L.

    Raises:
      AssertionError: if an id is empty or a time cannot be: those would look
        like padding, and `history_length` would disagree with it.
    """

    def __init__(
        self, users: Sequence[bytes], items: pa.Array, time: np.ndarray, max_history_length: int
    ) -> None:
        lengths = _lengths(items)
        if len(items) and not (
            lengths.min() > 0 and time.min() >= 1 << 28 and time.max() < 1 << 35
        ):
            raise AssertionError("Events without an item, or with a time that is none, were kept.")
        self._users = [_bytes_feature(features.USER_ID, user) for user in users]
        self._items, self._offsets = _as_list_values(items, lengths)
        shifts = np.arange(0, 7 * _TIME_BYTES, 7)
        digits = (time[:, None] >> shifts & 0x7F) | 0x80
        digits[:, -1] &= 0x7F
        self._times = digits.astype(np.uint8).tobytes()
        self._length = max_history_length
        tails = range(max_history_length + 1)
        self._padding = [b"\x0a\x00" * (max_history_length - n) for n in tails]
        self._after_items = [self._padding[n] + self._time_head(n) for n in tails]
        self._after_times = [
            b"\x00" * (max_history_length - n) + _int_feature(features.HISTORY_LENGTH, n)
            for n in tails
        ]
        marker = (1 << 7 * _TIME_BYTES) - 1
        self._target_time = _int_feature(features.TARGET_TIME, marker)[:-_TIME_BYTES]
        self._buckets = [
            _bytes_feature(features.HISTORY_BUCKET, b.encode()) for b in features.HISTORY_BUCKETS
        ]

    def histories(
        self,
        user: np.ndarray,
        begin: np.ndarray,
        end: np.ndarray,
        target: np.ndarray,
        bucket: np.ndarray,
    ) -> Iterator[bytes]:
        """What the positive and the negatives of a target have in common.

        Args:
          user: row of the user, shape (T,).
          begin: row of the oldest event of the history, shape (T,).
          end: row after the newest one, shape (T,).
          target: row of the target, shape (T,).
          bucket: index into `features.HISTORY_BUCKETS`, shape (T,).
        """
        length = end - begin
        from_, to = self._offsets[begin], self._offsets[end]
        if len(length) and not (length.min() >= 0 and length.max() <= self._length):
            raise AssertionError(f"A history has not 0 to {self._length} events.")
        columns = (
            user,
            from_,
            to,
            length,
            begin * _TIME_BYTES,
            end * _TIME_BYTES,
            target * _TIME_BYTES,
            bucket,
        )
        for u, i, j, n, s, t, at, b in zip(*(column.tolist() for column in columns), strict=True):
            items, times = self._items[i:j], self._times[s:t]
            padding = self._after_items[n]
            yield b"".join(
                (
                    self._users[u],
                    _item_head(j - i + 2 * (self._length - n)),
                    items,
                    padding,
                    times,
                    self._after_times[n],
                    self._target_time,
                    self._times[at : at + _TIME_BYTES],
                    self._buckets[b],
                )
            )

    def _time_head(self, n: int) -> bytes:
        size = n * _TIME_BYTES + self._length - n
        return _feature_head(features.HISTORY_TIME, b"\x1a", b"\x0a" + varint(size), size)


def targets(items: Sequence[bytes], buckets: Sequence[int], label: int) -> list[bytes]:
    """What a sample has beside its history: target item, its bucket, and the label.

    Args:
      items: ids.
      buckets: index into `features.TARGET_BUCKETS` of each.
      label: 1 or 0.
    """
    ends = [
        _bytes_feature(features.TARGET_BUCKET, name.encode()) + _int_feature(features.LABEL, label)
        for name in features.TARGET_BUCKETS
    ]
    return [
        _bytes_feature(features.TARGET_ITEM, item) + ends[bucket]
        for item, bucket in zip(items, buckets, strict=True)
    ]


def example(history: bytes, target: bytes) -> bytes:
    """The serialized tf.Example of a history and a target."""
    return b"".join((b"\x0a", varint(len(history) + len(target)), history, target))


@functools.lru_cache(maxsize=1 << 16)
def varint(value: int) -> bytes:
    """A number as protocol buffers write it."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


@functools.lru_cache(maxsize=1 << 16)
def _item_head(size: int) -> bytes:
    return _feature_head(features.HISTORY_ITEM, b"\x0a", b"", size)


def _feature_head(name: str, kind: bytes, list_head: bytes, size: int) -> bytes:
    """All bytes of an entry of the map of features before `size` bytes of values.

    Features.feature is field 1, its key field 1 and its value field 2; a
    Feature's bytes_list is field 1 and its int64_list field 3.
    """
    key = name.encode()
    inner = kind + varint(len(list_head) + size) + list_head
    value = b"\x12" + varint(len(inner) + size) + inner
    entry = b"\x0a" + varint(len(key)) + key + value
    return b"\x0a" + varint(len(entry) + size) + entry


def _bytes_feature(name: str, value: bytes) -> bytes:
    head = b"\x0a" + varint(len(value))
    return _feature_head(name, b"\x0a", head, len(value)) + value


def _int_feature(name: str, value: int) -> bytes:
    digits = varint(value)
    head = b"\x0a" + varint(len(digits))
    return _feature_head(name, b"\x1a", head, len(digits)) + digits


def _lengths(items: pa.Array) -> np.ndarray:
    offsets = np.frombuffer(items.buffers()[1], np.int32)
    return np.diff(offsets[items.offset : items.offset + len(items) + 1]).astype(np.int64)


def _as_list_values(items: pa.Array, lengths: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Each id as a value of a BytesList, one after the other, and where each begins, (N + 1,)."""
    heads = pa.array([b"\x0a" + varint(n) for n in range(int(lengths.max(initial=0)) + 1)])
    joined = pc.binary_join_element_wise(heads.take(pa.array(lengths)), items, b"")
    offsets = np.frombuffer(joined.buffers()[1], np.int32)[: len(items) + 1].astype(np.int64)
    return (joined.buffers()[2] or pa.py_buffer(b"")).to_pybytes()[: int(offsets[-1])], offsets
