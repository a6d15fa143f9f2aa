"""Negatives: the pools of items, and the draw.

A pool is a sample of items, chosen by hash. Its size is bounded and it does not depend on the
sharding. `matched` has a pool for each split and block of time, made of the positive targets
there, so that neither popularity nor age distinguishes negatives from positives. `uniform` has one
pool of training items, `popularity` one of training events.
"""

import dataclasses
import itertools

import numpy as np
import pyarrow as pa

from pipeline.ingest import hashing

BLOCK_TARGETS = 1_000  # least number of targets in a block of time
BLOCKS = 256  # approximate largest number of blocks in a split
BLOCK_POOL = 8_192  # approximate largest number of items in the pool of a block
POOL = 1 << 20  # items in the pool of `uniform` and of `popularity`
_DRAWS = 16  # attempts in the block, then as many in the whole split
_DRAW, _POOL = 3, 4  # keep the hashes of different choices apart

POOL_SCHEMA = pa.schema(
    [("group", pa.int32()), ("place", pa.uint64()), ("hash", pa.uint64()), ("item", pa.binary())]
)


def time_blocks(days: dict[int, int]) -> tuple[list[int], list[int]]:
    """Blocks of time of one split.

    A block collects days until it has `BLOCK_TARGETS` targets, or 1/`BLOCKS` of all if more.
    A last block with too few joins the one before it.

    Args:
      days: number of targets by day since 1970.

    Returns:
      the first day of each block, and its number of targets.
    """
    least = max(BLOCK_TARGETS, sum(days.values()) // BLOCKS)
    first: list[int] = []
    count: list[int] = []
    full = True
    for day in sorted(days):
        if full:
            first.append(day)
            count.append(0)
        count[-1] += days[day]
        full = count[-1] >= least
    if not full and len(count) > 1:
        rest = count.pop()
        first.pop()
        count[-1] += rest
    return first, count


def pool_places(seed: int, *what: np.ndarray) -> np.ndarray:
    """The position of an event or item in its pool: a hash, shape (N,)."""
    return hashing.mix(seed, _POOL, *what)


@dataclasses.dataclass
class Pools:
    """Items to draw from, ordered by group and position.

    Attributes:
      items: P ids; an item may occur more than once.
      hashes: hashes of the ids, shape (P,).
      bounds: group g has the rows bounds[g] to bounds[g + 1], shape (G + 1,).
      wider: the range of groups that a draw from group g may fall back to, shape (G, 2).
    """

    items: pa.Array
    hashes: np.ndarray
    bounds: np.ndarray
    wider: np.ndarray


def build_pools(table: pa.Table, groups_of_splits: list[int]) -> Pools:
    """Builds the pools from the rows of all buckets.

    Args:
      table: rows of `POOL_SCHEMA`, in any order.
      groups_of_splits: number of groups of each split. A draw falls back to the other groups of
        its split.
    """
    table = table.combine_chunks()
    group = table["group"].to_numpy()
    # The hash of the item breaks ties.
    order = np.lexsort((table["hash"].to_numpy(), table["place"].to_numpy(), group))
    firsts = np.cumsum([0, *groups_of_splits])
    wider = [
        (first, end)
        for first, end in itertools.pairwise(firsts)
        for _ in range(int(first), int(end))
    ]
    items = table["item"].take(pa.array(order)).combine_chunks()
    return Pools(
        items=items.combine_chunks() if isinstance(items, pa.ChunkedArray) else items,
        hashes=table["hash"].to_numpy()[order],
        bounds=np.searchsorted(group[order], np.arange(firsts[-1] + 1)),
        wider=np.array(wider, np.int64).reshape(-1, 2),
    )


def draw(
    pools: Pools, group: np.ndarray, key: np.ndarray, user: np.ndarray, record: np.ndarray
) -> tuple[np.ndarray, int]:
    """Draws a negative for each sample: an item of its pool that the user never rated.

    Attempt t of a sample takes row `first + mix(3, key, t) mod size` of its group. After `_DRAWS`
    failed attempts it tries as many rows of all groups of the split, then all rows of these
    groups in turn, from the last attempt on.

    Args:
      pools: the pools.
      group: group of each sample, shape (S,).
      key: hash of the seed, user, target and number of each sample, shape (S,).
      user: hash of the user of each sample, shape (S,).
      record: sorted hashes of (user, item) for all events of these users.

    Returns:
      the row of each negative in the pools, shape (S,), or -1 if the user has all items; and the
      number of samples whose negative is not from their own block.
    """
    chosen = np.full(len(key), -1, np.int64)
    low, high = pools.bounds[group], pools.bounds[group + 1]
    widened = 0
    for first in (0, _DRAWS):
        if first:
            widened = int(np.count_nonzero(chosen < 0))
            low, high = pools.bounds[pools.wider[group, 0]], pools.bounds[pools.wider[group, 1]]
        for t in range(first, first + _DRAWS):
            open_ = np.flatnonzero((chosen < 0) & (high > low))
            if not len(open_):
                break
            size = (high - low)[open_].astype(np.uint64)
            rows = low[open_] + (hashing.mix(_DRAW, key[open_], t) % size).astype(np.int64)
            admitted = ~contains(record, hashing.mix(user[open_], pools.hashes[rows]))
            chosen[open_[admitted]] = rows[admitted]
    for sample in np.flatnonzero((chosen < 0) & (high > low)):
        size = int(high[sample] - low[sample])
        last = int(hashing.mix(_DRAW, key[sample : sample + 1], 2 * _DRAWS - 1)[0]) % size
        rows = low[sample] + (last + np.arange(size)) % size
        admitted = ~contains(record, hashing.mix(user[sample], pools.hashes[rows]))
        if admitted.any():
            chosen[sample] = rows[np.argmax(admitted)]
    return chosen, widened


def contains(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Whether each value is in a sorted array, bool of the shape of `values`."""
    if not len(ordered):
        return np.zeros(len(values), bool)
    place = np.searchsorted(ordered, values)
    return ordered[np.minimum(place, len(ordered) - 1)] == values
