"""Decisions between the stages, from the counts of all workers.

A plan is the dictionary for the workers of the next stage. Its `error` is the reason to stop, or
"".
"""

import datetime
from collections.abc import Iterable

from pipeline.configs import Ingestion
from pipeline.ingest import hashing, histories, negatives
from pipeline.ingest.stages import Tally
from transforms import features


def add_up(tallies: Iterable[Tally]) -> Tally:
    """The sum of tallies: adds numbers, concatenates lists, merges dictionaries key by key."""
    result: Tally = {}
    for tally in tallies:
        _add(result, tally)
    return result


def _add(into: dict, tally: dict) -> None:
    for key, value in tally.items():
        if isinstance(value, dict):
            _add(into.setdefault(key, {}), value)
        elif isinstance(value, list):
            into.setdefault(key, []).extend(value)
        else:
            into[key] = into.get(key, 0) + value


def check_lines(settings: Ingestion, tally: Tally) -> Tally:
    """The plan for `sort`; stops at damaged files, too many bad lines, or no events."""
    bad = sum(tally["bad"].values())
    shown = sorted(tally["examples"])[:3]
    error = ""
    if tally["damaged"]:
        error = tally["damaged"][0]
    elif bad > settings.max_bad_share * tally["lines"]:
        reasons = sorted(tally["bad"].items(), key=lambda entry: (-entry[1], entry[0]))
        error = (
            f"{bad:,} of {tally['lines']:,} lines are bad ({bad / tally['lines']:.1%}); "
            f"`max_bad_share` allows {settings.max_bad_share:.1%}. "
            + "; ".join(f"{reason}: {count:,}" for reason, count in reasons)
            + ". For example: "
            + "; ".join(
                f"{path} at {place:,} ({why}): {text!r}" for path, place, why, text in shown
            )
            + ". Correct the file, or set IMN_COLUMNS, IMN_LAYOUT or IMN_MAX_BAD_SHARE."
        )
    elif not tally["rows"]:
        error = (
            f"`ratings` has no usable user: 0 of {tally['lines']:,} lines are events. "
            f"{tally['unwanted']:,} have a rating below `min_rating` = {settings.min_rating}. "
            "Lower IMN_MIN_RATING, or give ratings of the same scale."
        )
    return tally | {"error": error}


def regrouped(settings: Ingestion, tally: Tally, before: Tally) -> Tally:
    """The plan with the files of the next level of the shuffle."""
    del settings
    return carry(before, tally)


def place_edges(settings: Ingestion, tally: Tally, before: Tally) -> Tally:
    """Adds the days on which eval and test begin, for splits by time."""
    plan = carry(before, tally) | {"boundaries": (0, 0)}
    if not before["error"]:
        days = tally["days"]
        plan["boundaries"] = histories.boundaries(days, settings.eval_share, settings.test_share)
        plan["span"] = (min(days), max(days))
        plan["largest"] = sorted(tally["largest"], reverse=True)[:2]
    return plan


def check_splits(settings: Ingestion, tally: Tally, before: Tally) -> Tally:
    """Adds blocks of time, sizes of pools and bounds of lengths; stops at an empty split."""
    plan = carry(before, tally)
    if plan["error"]:
        return plan
    count = {name: tally[name]["targets"] for name in features.SPLITS}
    plan["error"] = empty_split(settings, count, plan)
    if plan["error"]:
        return plan
    if settings.negatives == "matched":
        blocks = [negatives.time_blocks(tally[name]["days"]) for name in features.SPLITS]
        plan["blocks"] = [first for first, _ in blocks]
        plan["groups"] = [len(first) for first, _ in blocks]
        plan["thresholds"] = [
            int(hashing.threshold(negatives.BLOCK_POOL, size))
            for _, sizes in blocks
            for size in sizes
        ]
    else:
        # `uniform` draws from all counted items and needs no items from the buckets.
        share = hashing.threshold(negatives.POOL, tally["train_events"])
        plan["groups"] = [1]
        plan["thresholds"] = [int(share) if settings.negatives == "popularity" else 0]
    plan["length_bounds"] = histories.length_bounds(tally["lengths"])
    return plan


def close_pools(settings: Ingestion, tally: Tally, before: Tally) -> Tally:
    """Adds the number of items in the pools."""
    del settings
    plan = carry(before, tally)
    return plan | {"pooled_items": plan.get("items", 0)}


def carry(before: Tally, tally: Tally) -> Tally:
    """The plan so far, extended by a new tally."""
    return before | tally | {"stages": before["stages"] + tally.get("stages", [])}


def empty_split(settings: Ingestion, count: dict[str, int], plan: Tally) -> str:
    """The reason to stop if a split has no targets, or ""; `count` is their number in each."""
    empty = [name for name in features.SPLITS if not count[name]]
    if not empty:
        return ""
    if settings.split == "temporal":
        edges = " and ".join(date(day) for day in plan["boundaries"])
        edges = f", eval and test begin on {edges}"
    else:
        edges = ""
    if plan["users_of_one_item"] == plan["users"]:
        return (
            f"No user rated two items: {plan['events']:,} events of {plan['users']:,} users are "
            "of one item each, so that no event has a history. Check which column is the user "
            "(IMN_COLUMNS), or give more ratings."
        )
    return (
        f"The split {' and '.join(empty)} is empty: with split={settings.split}, "
        f"shift d={settings.shift}, min_history_length={settings.min_history_length}, "
        f"eval_share={settings.eval_share} and test_share={settings.test_share}, "
        f"{plan['events']:,} events of {plan['users']:,} users give "
        + ", ".join(f"{count[name]:,} targets to {name}" for name in features.SPLITS)
        + f"{edges}. Give more ratings, or change these settings."
    )


def no_negatives(count: dict[str, int], plan: Tally) -> str:
    """The reason to stop if a split has targets but no negative for any of them, or ""."""
    lost = [name for name in features.SPLITS if not count[name] and plan[name]["targets"]]
    if not lost:
        return ""
    return (
        f"No negative can be drawn for the split {' and '.join(lost)}: a negative is an item that "
        f"its user never rated, and no item is left. Received: {plan['events']:,} events of "
        f"{plan['users']:,} users and {plan['pooled_items']:,} items in training. "
        "Give ratings of more users and items, or set IMN_NEGATIVES=uniform to draw from all items."
    )


def date(day: int) -> str:
    """A day, counted from 1970, as YYYY-MM-DD."""
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=day)).isoformat()
