"""Encodes samples as serialized tf.Examples without building protocol buffers.

A window is a run of its user's events. All events are encoded once, and the bytes of a history are
a slice of them. `map` and `zip` join the pieces of a sample, without Python code for each sample.
A test compares the result with tfx_bsl's C++ encoder.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import features

_TIME_BYTES = 5  # size of a varint from 2^28 to 2^35 - 1: seconds from 1978 to 3058


class Encoder:
    """Encodes samples of some events.

    Args:
      users: ids of U users.
      items: the item id of each of N events.
      time: time of each event in seconds since 1970, shape (N,).
      max_history_length: L.
      values: the value of each event by the feature of an event field, N of them; may be "".

    Raises:
      ValueError: if an id is empty or a time is out of range: these would look like padding.
    """

    def __init__(
        self,
        users: pa.Array,
        items: pa.Array,
        time: np.ndarray,
        max_history_length: int,
        values: Mapping[str, pa.Array] | None = None,
    ) -> None:
        if len(items) and not (
            _lengths(items).min() > 0 and time.min() >= 1 << 28 and time.max() < 1 << 35
        ):
            raise ValueError(
                "Got an event with an empty item or an invalid time; the reader must drop these."
            )
        self._users = _bytes_features(features.USER_ID, users)
        self._items, self._offsets = _joined(_value_heads(items), items)
        shifts = np.arange(0, 7 * _TIME_BYTES, 7)
        digits = (time[:, None] >> shifts & 0x7F) | 0x80
        digits[:, -1] &= 0x7F
        self._times = digits.astype(np.uint8).tobytes()
        self._length = max_history_length
        marker = (1 << 7 * _TIME_BYTES) - 1
        target_time = _int_feature(features.TARGET_TIME, marker)[:-_TIME_BYTES]
        tails = range(max_history_length + 1)
        self._after_items = [
            b"\x0a\x00" * (max_history_length - n) + self._time_head(n) for n in tails
        ]
        self._after_times = [
            b"\x00" * (max_history_length - n)
            + _int_feature(features.HISTORY_LENGTH, n)
            + target_time
            for n in tails
        ]
        self._buckets = [
            _bytes_feature(features.HISTORY_BUCKET, b.encode()) for b in features.HISTORY_BUCKETS
        ]
        self._values = {
            name: _joined(_value_heads(texts), texts) for name, texts in (values or {}).items()
        }
        self._padding = [b"\x0a\x00" * (max_history_length - n) for n in tails]

    def histories(
        self,
        user: np.ndarray,
        begin: np.ndarray,
        end: np.ndarray,
        target: np.ndarray,
        bucket: np.ndarray,
    ) -> list[bytes]:
        """The part that the positive and the negatives of a target share.

        Args:
          user: index of the user, shape (T,).
          begin: index of the oldest event of the history, shape (T,).
          end: index after the newest event, shape (T,).
          target: index of the target, shape (T,).
          bucket: index in `features.HISTORY_BUCKETS`, shape (T,).
        """
        length = end - begin
        if len(length) and not (length.min() >= 0 and length.max() <= self._length):
            raise ValueError(f"A history must have 0 to {self._length} events.")
        from_, to = self._offsets[begin], self._offsets[end]
        sizes = to - from_ + 2 * (self._length - length)
        lengths = length.tolist()
        pieces = zip(
            map(self._users.__getitem__, user.tolist()),
            map(functools.partial(_texts_head, features.HISTORY_ITEM), sizes.tolist()),
            _slices(self._items, from_, to),
            map(self._after_items.__getitem__, lengths),
            _slices(self._times, begin * _TIME_BYTES, end * _TIME_BYTES),
            map(self._after_times.__getitem__, lengths),
            _slices(self._times, target * _TIME_BYTES, (target + 1) * _TIME_BYTES),
            map(self._buckets.__getitem__, bucket.tolist()),
            *(part for name in self._values for part in self._value_parts(name, begin, end)),
            strict=True,
        )
        return list(map(b"".join, pieces))

    def _value_parts(
        self, name: str, begin: np.ndarray, end: np.ndarray
    ) -> tuple[Iterator[bytes], Iterator[bytes], Iterator[bytes]]:
        """The feature of an event field in three parts: head, values and padding."""
        data, offsets = self._values[name]
        from_, to = offsets[begin], offsets[end]
        length = end - begin
        sizes = to - from_ + 2 * (self._length - length)
        return (
            map(functools.partial(_texts_head, name), sizes.tolist()),
            _slices(data, from_, to),
            map(self._padding.__getitem__, length.tolist()),
        )

    def _time_head(self, n: int) -> bytes:
        size = n * _TIME_BYTES + self._length - n
        return _feature_head(features.HISTORY_TIME, b"\x1a", b"\x0a" + varint(size), size)


def targets(items: pa.Array, buckets: np.ndarray, label: int) -> list[bytes]:
    """The part of a sample beside its history: target item, its bucket, and the label.

    Args:
      items: N ids.
      buckets: index in `features.TARGET_BUCKETS` of each, shape (N,).
      label: 1 or 0.
    """
    ends = pa.array(
        [
            _bytes_feature(features.TARGET_BUCKET, name.encode())
            + _int_feature(features.LABEL, label)
            for name in features.TARGET_BUCKETS
        ]
    )
    return _bytes_features(features.TARGET_ITEM, items, ends.take(pa.array(buckets)))


def examples(histories: Sequence[bytes], targets: Sequence[bytes]) -> list[bytes]:
    """The serialized tf.Examples of histories and targets, pair by pair."""
    sizes = map(int.__add__, map(len, histories), map(len, targets))
    return list(map(b"".join, zip(map(_example_head, sizes), histories, targets, strict=True)))


@functools.lru_cache(maxsize=1 << 16)
def varint(value: int) -> bytes:
    """A number in the varint encoding of protocol buffers."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


@functools.lru_cache(maxsize=1 << 16)
def _example_head(size: int) -> bytes:
    return b"\x0a" + varint(size)


@functools.lru_cache(maxsize=1 << 16)
def _texts_head(name: str, size: int) -> bytes:
    """The bytes before the values of a history's texts; each value has a head of its own."""
    return _feature_head(name, b"\x0a", b"", size)


def _feature_head(name: str, kind: bytes, list_head: bytes, size: int) -> bytes:
    """The bytes of an entry in the feature map that come before `size` bytes of values.

    Features.feature is field 1, its key field 1 and its value field 2; a
    Feature's bytes_list is field 1 and its int64_list field 3.
    """
    key = name.encode()
    inner = kind + varint(len(list_head) + size) + list_head
    value = b"\x12" + varint(len(inner) + size) + inner
    entry = b"\x0a" + varint(len(key)) + key + value
    return b"\x0a" + varint(len(entry) + size) + entry


def _bytes_feature(name: str, value: bytes) -> bytes:
    return _bytes_head(name, len(value)) + value


def _bytes_head(name: str, size: int) -> bytes:
    return _feature_head(name, b"\x0a", b"\x0a" + varint(size), size)


def _int_feature(name: str, value: int) -> bytes:
    digits = varint(value)
    head = b"\x0a" + varint(len(digits))
    return _feature_head(name, b"\x1a", head, len(digits)) + digits


def _bytes_features(name: str, values: pa.Array, *more: pa.Array) -> list[bytes]:
    """A feature for each value, followed by the bytes of each of `more`."""
    by_length = [_bytes_head(name, n) for n in range(_longest(values) + 1)]
    heads = pa.array(by_length).take(pa.array(_lengths(values)))
    data, offsets = _joined(heads, values, *more)
    return list(_slices(data, offsets[:-1], offsets[1:]))


def _value_heads(values: pa.Array) -> pa.Array:
    """The bytes before each value in a BytesList."""
    by_length = [b"\x0a" + varint(n) for n in range(_longest(values) + 1)]
    return pa.array(by_length).take(pa.array(_lengths(values)))


def _joined(*columns: pa.Array) -> tuple[bytes, np.ndarray]:
    """The concatenated bytes of all rows, and the offset of each row, shape (N + 1,)."""
    joined = pc.binary_join_element_wise(*columns, b"")
    offsets = np.frombuffer(joined.buffers()[1], np.int32)[: len(joined) + 1].astype(np.int64)
    return (joined.buffers()[2] or pa.py_buffer(b"")).to_pybytes()[: int(offsets[-1])], offsets


def _slices(data: bytes, begins: np.ndarray, ends: np.ndarray) -> Iterator[bytes]:
    return map(data.__getitem__, map(slice, begins.tolist(), ends.tolist()))


def _lengths(values: pa.Array) -> np.ndarray:
    offsets = np.frombuffer(values.buffers()[1], np.int32)
    return np.diff(offsets[values.offset : values.offset + len(values) + 1]).astype(np.int64)


def _longest(values: pa.Array) -> int:
    return int(_lengths(values).max(initial=0))
