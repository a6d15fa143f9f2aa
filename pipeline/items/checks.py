"""Checks of a catalogue from the counts of all workers, and the vocabularies of its fields."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tfx.dsl.io import fileio

from pipeline.ingest import arrow_files
from pipeline.ingest.item_counts import training_events
from pipeline.items.fields import NUMBER
from pipeline.items.stages import Job, Tally
from transforms import item_table

BUCKETS = 20  # of a number, with equal shares of the training items
_LEAST_COVERAGE = 0.5  # of the training events, whose item the catalogue must know
_LEAST_FILLED = 0.01  # of the items that must have a value of a field
_MOST_DISTINCT = 0.5  # distinct values over values, above which a field names single items
_MANY = 1_000  # training items, from which the rule of distinct values holds
_MOST_ODD = 0.5  # values of a number field that may be no numbers


def check_rows(job: Job, tally: Tally) -> Tally:
    """The plan for `merge`; stops at damaged files and at too many bad lines."""
    bad, lines = sum(tally["bad"].values()), tally["lines"]
    error = ""
    if tally["damaged"]:
        error = tally["damaged"][0]
    elif not lines or bad == lines or bad > job.request.max_bad_share * lines:
        reasons = "; ".join(
            f"{reason}: {count:,}" for reason, count in sorted(tally["bad"].items())
        )
        shown = "; ".join(
            f"{path} at {place:,} ({why}): {text!r}"
            for path, place, why, text in sorted(tally["examples"])[:3]
        )
        error = (
            f"{bad:,} of {lines:,} rows of `items` are bad; `max_bad_share` allows "
            f"{job.request.max_bad_share:.1%}. {reasons}. For example: {shown}. Correct the file, "
            "or raise IMN_MAX_BAD_SHARE."
        )
    return tally | {"error": error, "pieces": sorted(tally["pieces"])}


def vocabularies(job: Job, tally: Tally, before: Tally) -> Tally:
    """Adds the fields with their vocabularies and buckets; stops where the catalogue is no help."""
    plan = {**before, **tally}
    if before["error"]:
        return plan
    plan["error"] = _contradictions(job, plan) or _coverage(job, plan)
    if plan["error"]:
        return plan
    frozen = item_table.load(job.request.frozen) if job.request.frozen else None
    plan["fields"] = []
    for number, field in enumerate(job.choice.fields):
        if frozen:
            made = {"rows": frozen.fields[number].rows, "bounds": frozen.fields[number].bounds}
            words = frozen.vocabulary(number) if field.kind != NUMBER else []
        elif field.kind == NUMBER:
            made, words = _buckets(job, number), []
        else:
            made, words, error = _words(job, number, field.name, plan)
            plan["error"] = plan["error"] or error
        plan["error"] = plan["error"] or _odd(field, plan)
        if field.kind != NUMBER:
            with fileio.open(job.path("vocabulary", number), "wb") as file:
                file.write("".join(f"{word}\n" for word in words).encode("utf-8"))
        plan["fields"].append({"name": field.name, "kind": field.kind, "bounds": [], **made})
    return plan


def _contradictions(job: Job, plan: Tally) -> str:
    share = plan["conflicts"] / max(plan["items"], 1)
    if share <= job.request.max_bad_share:
        return ""
    return (
        f"{plan['conflicts']:,} of {plan['items']:,} items have several rows with other values, "
        f"for example {plan['conflict_examples'][0]!r}; `max_bad_share` allows "
        f"{job.request.max_bad_share:.1%}. Give one row for each item, or raise IMN_MAX_BAD_SHARE: "
        "then a field has the value of the first row."
    )


def _coverage(job: Job, plan: Tally) -> str:
    if not job.request.item_counts:
        return ""
    hashes, counts = training_events(job.request.item_counts)
    events = int(counts.sum())
    plan["training_events"], plan["training_items"] = events, len(hashes)
    if plan["known_events"] >= _LEAST_COVERAGE * events:
        return ""
    sample = arrow_files.read(job.path("items", 0))["item"].slice(0, 3).to_pylist()
    shown = ", ".join(item.decode("utf-8", "backslashreplace") for item in sample)
    return (
        f"`items` must know at least half of the ratings. It knows the items of "
        f"{plan['known_events']:,} of {events:,} training ratings, and {plan['known_items']:,} of "
        f"{len(hashes):,} items. Its ids look like {shown}. Check that it belongs to these ratings "
        f"and that `{job.choice.item}` is the column of the ids that they have."
    )


def _odd(field: Any, plan: Tally) -> str:
    odd = sum(plan["odd"][field.name].values())
    filled = plan["filled"][field.name]
    if filled < _LEAST_FILLED * plan["items"]:
        return (
            f"The field `{field.name}` must have a value for 1 % of the items. Received: "
            f"{filled:,} of {plan['items']:,}"
            + (f", and {odd:,} values that cannot be read" if odd else "")
            + ". Leave it out of IMN_ITEM_FIELDS, or correct the catalogue."
        )
    if odd > _MOST_ODD * (odd + filled):
        reasons = "; ".join(f"{why}: {count:,}" for why, count in plan["odd"][field.name].items())
        return (
            f"The field `{field.name}` must be a {field.kind}. Received: {odd:,} of "
            f"{odd + filled:,} values that are none ({reasons}). Name its kind in "
            "IMN_ITEM_FIELDS, or leave it out."
        )
    return ""


def _buckets(job: Job, number: int) -> Tally:
    parts = [arrow_files.read(job.path(f"values-{number}", b))["value"] for b in range(job.buckets)]
    numbers = np.concatenate([part.to_numpy() for part in parts])
    shares = np.arange(1, BUCKETS) / BUCKETS
    bounds = np.unique(np.quantile(numbers, shares)).tolist() if len(numbers) else []
    return {"rows": item_table.FIRST_VALUE + len(bounds) + 1, "bounds": bounds}


def _words(job: Job, number: int, name: str, plan: Tally) -> tuple[Tally, list[str], str]:
    """Rows and vocabulary of a category: most frequent first; and the reason to stop, or ""."""
    tables = [arrow_files.read(job.path(f"values-{number}", b)) for b in range(job.buckets)]
    counted = pa.concat_tables(tables).group_by("value").aggregate([("count", "sum")])
    counted = counted.filter(pc.is_valid(counted["value"]))
    total = pc.sum(counted["count_sum"]).as_py() or 0
    error = ""
    if plan["trained"][name] >= _MANY and len(counted) > _MOST_DISTINCT * total:
        error = (
            f"The values of `{name}` must be shared by items. Received: {len(counted):,} different "
            f"ones among {total:,} of training items; so it names items, and a model cannot learn "
            "from it. Leave it out of IMN_ITEM_FIELDS."
        )
    order = pc.sort_indices(counted, [("count_sum", "descending"), ("value", "ascending")])
    words = counted["value"].take(order).to_pylist()[: job.request.max_vocabulary_size]
    plan.setdefault("distinct", {})[name] = len(counted)
    return {"rows": item_table.FIRST_VALUE + len(words)}, words, error
