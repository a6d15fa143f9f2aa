"""64-bit hashes of ids and numbers, whole arrays at a time.

Every choice that ingestion makes (the order within a day, a user's split, a
negative) is a hash of a seed and of what is chosen for, so that it does not
depend on workers, shards or the order of lines.
"""

import numpy as np
import pyarrow as pa

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S1, _S2, _S3 = np.uint64(30), np.uint64(27), np.uint64(31)
_LOW_BYTES = np.array([0] + [(1 << 8 * n) - 1 for n in range(1, 9)], np.uint64)


def mix(*values: np.ndarray | np.uint64 | int) -> np.ndarray:
    """Hash of the values in their order, element by element.

    From h = 0, each value v gives h = f(h · 0x9E3779B97F4A7C15 + v mod 2^64),
    where f is the finalizer of SplitMix64 (Steele, Lea, Flood 2014).

    Args:
      *values: whole numbers; arrays of one shape, or numbers for all of it.

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
    """Hash of each id: its length, then its bytes as little-endian words, mixed as by `mix`.

    Args:
      ids: N texts or byte strings, none of them null.

    Returns:
      uint64 of shape (N,).
    """
    _, offsets, data = ids.buffers()
    bounds = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    begins, lengths = bounds[:-1].astype(np.int64), np.diff(bounds)
    # Seven bytes of slack, so that the last word may be read whole.
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
    """The hashes as numbers in [0, 1), float64."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def threshold(expected: int, total: int) -> np.uint64:
    """The bound below which `expected` of `total` hashes lie on average; all, if that is fewer."""
    if total <= expected:
        return np.uint64(0xFFFFFFFFFFFFFFFF)
    return np.uint64((expected << 64) // total)


def ranges(hashes: np.ndarray, count: int) -> np.ndarray:
    """Which of `count` equal ranges of hashes each lies in, int64."""
    return (share(hashes) * count).astype(np.int64)
