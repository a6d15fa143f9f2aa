"""64-bit hashes of arrays of ids and numbers.

Every random choice of ingestion (the order within a day, the split of a user, a negative) is a
hash of a seed and of its subject. So it does not depend on workers, shards or the order of lines.
"""

import numpy as np
import pyarrow as pa

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S1, _S2, _S3 = np.uint64(30), np.uint64(27), np.uint64(31)
_LOW_BYTES = np.array([0] + [(1 << 8 * n) - 1 for n in range(1, 9)], np.uint64)


def mix(*values: np.ndarray | np.uint64 | int) -> np.ndarray:
    """Hashes of tuples of values, element by element.

    From h = 0, each value v gives h = f(h · 0x9E3779B97F4A7C15 + v mod 2^64),
    where f is the finalizer of SplitMix64 (Steele, Lea, Flood 2014).

    Args:
      *values: integers: arrays of one shape, or scalars.

    Returns:
      uint64, in the common shape; at least one dimension.
    """
    h = np.zeros(1, np.uint64)
    for value in values:
        if isinstance(value, int):
            value = np.uint64(value & 0xFFFFFFFFFFFFFFFF)
        h = _step(h, np.atleast_1d(value).astype(np.uint64))
    return h


def hash_strings(ids: pa.Array) -> np.ndarray:
    """Hashes of ids: `mix` of the length and of the bytes as little-endian words.

    Args:
      ids: N strings or byte strings without nulls.

    Returns:
      uint64 of shape (N,).
    """
    _, offsets, data = ids.buffers()
    bounds = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    begins, lengths = bounds[:-1].astype(np.int64), np.diff(bounds)
    # Padding, so that the last word can be read as a whole.
    raw = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    raw = np.concatenate([raw[: int(bounds[-1])], np.zeros(8, np.uint8)])
    words: np.ndarray = np.ndarray((len(raw) - 7,), "<u8", raw, strides=(1,))
    h = mix(lengths)
    rows = np.arange(len(ids))
    for word in range(-(-int(lengths.max(initial=0)) // 8)):
        left = lengths[rows] - 8 * word
        rows, left = rows[left > 0], left[left > 0]
        value = words[begins[rows] + 8 * word] & _LOW_BYTES[np.minimum(left, 8)]
        h[rows] = _step(h[rows], value)
    return h


def _step(h: np.ndarray, value: np.ndarray) -> np.ndarray:
    h = h * _GOLDEN + value
    h = (h ^ (h >> _S1)) * _M1
    h = (h ^ (h >> _S2)) * _M2
    return h ^ (h >> _S3)


def share(hashes: np.ndarray) -> np.ndarray:
    """Hashes as float64 in [0, 1)."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def threshold(expected: int, total: int) -> np.uint64:
    """The bound below which `expected` of `total` hashes lie on average, or the largest hash."""
    if total <= expected:
        return np.uint64(0xFFFFFFFFFFFFFFFF)
    return np.uint64((expected << 64) // total)


def ranges(hashes: np.ndarray, count: int) -> np.ndarray:
    """The index of each hash among `count` equal ranges, int64."""
    return (share(hashes) * count).astype(np.int64)
