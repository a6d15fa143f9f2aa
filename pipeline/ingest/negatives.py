"""Negatives: from which items they are drawn, and the draw.

A pool is a sample of items that a hash chose, bounded in size and the same for
any sharding. `matched` has a pool for every split and block of time, taken
from the positive targets there, so that neither popularity nor the age of an
item tells a negative from a positive. `uniform` has one pool of training items,
`popularity` one of training events.
"""

import dataclasses
import itertools

import numpy as np
import pyarrow as pa

from pipeline.ingest import hashing

BLOCK_TARGETS = 1_000  # in a block of time, at least
BLOCKS = 256  # in a split, about, at most
BLOCK_POOL = 8_192  # items of a block's pool, about, at most
POOL = 1 << 20  # items of the one pool of `uniform` and of `popularity`
_DRAWS = 16  # from the block, then as many from the whole split
_DRAW, _POOL = 3, 4  # keep the hashes of different choices apart

POOL_SCHEMA = pa.schema(
    [("group", pa.int32()), ("place", pa.uint64()), ("hash", pa.uint64()), ("item", pa.binary())]
)


def time_blocks(days: dict[int, int]) -> tuple[list[int], list[int]]:
    """Blocks of time of one split.

    Days join a block until it has `BLOCK_TARGETS` targets, or 1/`BLOCKS` of
    all, if that is more; a rest that is too small joins the block before it.

    Args:
      days: targets a day, by days since 1970.

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
    """Where an event or an item lies in the order of its pool: a hash, shape (N,)."""
    return hashing.mix(seed, _POOL, *what)


@dataclasses.dataclass
class Pools:
    """Items to draw from, in the order of group and place.

    Attributes:
      items: ids, P of them; an item may be there more than once.
      hashes: of the ids, shape (P,).
      bounds: group g is rows bounds[g] to bounds[g + 1], shape (G + 1,).
      wider: the first group and the one after the last that a draw from group g
        may fall back to, shape (G, 2).
    """

    items: pa.Array
    hashes: np.ndarray
    bounds: np.ndarray
    wider: np.ndarray


def build_pools(table: pa.Table, groups_of_splits: list[int]) -> Pools:
    """Pools from what all buckets gave to them.

    Args:
      table: rows of `POOL_SCHEMA`, in any order.
      groups_of_splits: how many groups each split has; a draw falls back to the
        other groups of its split.
    """
    table = table.combine_chunks()
    group = table["group"].to_numpy()
    # The hash breaks ties of the place, which equal events of a pool cannot have.
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
    """A negative for each sample: an item of its pool that the user's record has not.

    The draw number t of a sample takes row `first + mix(3, key, t) mod size` of
    its group. After `_DRAWS` refused ones, as many follow from all groups of
    the split, then all rows of those in turn, from the one drawn last.

    Args:
      pools: to draw from.
      group: of each sample, shape (S,).
      key: hash of each sample's seed, user, target and number, shape (S,).
      user: hash of each sample's user, shape (S,).
      record: sorted hashes of (user, item) of all events of these users.

    Returns:
      the row in the pools of each sample's negative, shape (S,), -1 if the user
      has all items; and how many samples were not served by their own block.
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
    """Which of the values are in a sorted array, bool of the shape of `values`."""
    if not len(ordered):
        return np.zeros(len(values), bool)
    place = np.searchsorted(ordered, values)
    return ordered[np.minimum(place, len(ordered) - 1)] == values
