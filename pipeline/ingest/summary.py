"""What ingestion did: the report that it leaves, and the lines that a person reads."""

import datetime
from typing import Any

from pipeline.ingest import plans
from pipeline.ingest.sources.records import Range
from pipeline.ingest.stages import Job, Tally
from transforms import features

_LARGE_SHARE = 0.1  # of all events, by one user
_FEW_DAYS = 7


def report(job: Job, ranges: list[Range], result: Tally, seconds: float) -> Tally:
    """The content of `report.json`.

    Args:
      job: the job that ran.
      ranges: all that was read.
      result: what all stages counted.
      seconds: of the whole job.
    """
    settings = job.settings
    spans: dict[str, tuple[float, float]] = {}
    of_worker: dict[str, float] = {}
    for name, start, end, _, worker, cpu in result["stages"]:
        for span in (name, "working"):  # "working": all stages, without the start of the runner
            first, last = spans.get(span, (start, end))
            spans[span] = (min(first, start), max(last, end))
        of_worker[worker] = of_worker.get(worker, 0.0) + cpu
    layouts = {part.path: part.layout for part in ranges}
    temporal = settings.split == "temporal"
    return {
        "files": [
            {
                "path": path,
                "layout": found.kind,
                "columns": dict(found.roles),
                "separator": found.separator if found.format == "delimited" else None,
                "unit": found.unit,
                "sample": dict(found.sample),
            }
            for path, found in layouts.items()
        ],
        "lines": result["lines"],
        "bad_lines": {
            reason: {"lines": count, "share": count / result["lines"]}
            for reason, count in sorted(result["bad"].items())
        },
        "below_min_rating": result["unwanted"],
        "events": result["events"],
        "duplicates": result["duplicates"],
        "first_day": plans.date(result["span"][0]),
        "last_day": plans.date(result["span"][1]),
        "users": result["users"],
        "largest_users": result["largest"],
        "training_items": result["items"],
        "split": settings.split,
        "eval_begins": plans.date(result["boundaries"][0]) if temporal else None,
        "test_begins": plans.date(result["boundaries"][1]) if temporal else None,
        "splits": {name: result[name] for name in features.SPLITS},
        "windows_dropped_by_cap": result["capped"],
        "same_day": settings.same_day,
        "negatives": {
            "kind": settings.negatives,
            "pools": sum(result["groups"]),
            "beyond_their_block": result["widened"],
            "targets_without": result["without_negative"],
        },
        "history_buckets": {
            "medium_from": result["length_bounds"][0],
            "long_from": result["length_bounds"][1],
        },
        "buckets": job.buckets,
        "seconds": {
            "all": round(seconds, 2),
            **{name: round(last - first, 2) for name, (first, last) in spans.items()},
        },
        "cpu_seconds_of_workers": [round(cpu, 2) for cpu in of_worker.values()],
        "peak_memory_of_a_worker_mb": max(stage[3] for stage in result["stages"]) // 1024,
    }


def histograms(result: Tally) -> dict[str, Any]:
    """The content of `histograms.json`, from what all stages counted.

    Returns:
      `events_by_day`: events by day, YYYY-MM-DD, in order of time. By the lower bound of a bin (0,
      1, 2, 4, 8, ...), as a text: `history_lengths`: for each split its targets by the events
      before them, without the cut to L; `item_frequency`: `items` of training by their events, and
      the `events` that these items have together.
    """

    def ordered(counts: dict[int, int]) -> dict[str, int]:
        # JSON made texts of the keys on the way from the workers.
        return {str(low): counts[low] for low in sorted(counts, key=int)}

    days = {int(day): count for day, count in result["days"].items()}
    return {
        "events_by_day": {plans.date(day): days[day] for day in sorted(days)},
        "history_lengths": {name: ordered(of) for name, of in result["histories"].items()},
        "item_frequency": {name: ordered(of) for name, of in result["frequency"].items()},
    }


def _begins(report: dict[str, Any], split: str) -> str:
    day = report.get(f"{split}_begins")
    return f" from {day}" if day else ""


def lines(report: dict[str, Any]) -> list[str]:
    """Two lines on what was read and sampled, and one for each thing that looks wrong."""
    bad = report["bad_lines"]
    reasons = ", ".join(f"{reason} {entry['lines']:,}" for reason, entry in bad.items())
    count = sum(entry["lines"] for entry in bad.values())
    splits = report["splits"].items()
    result = [
        f"Read: {report['events']:,} events of {report['users']:,} users, "
        f"{report['first_day']} to {report['last_day']}; {report['training_items']:,} items in "
        f"training. Of {report['lines']:,} lines {count:,} are bad"
        + (f" ({reasons})" if reasons else "")
        + f", {report['duplicates']:,} repeated and {report['below_min_rating']:,} below "
        "`min_rating`.",
        "Samples: "
        + ", ".join(
            f"{name} {of['samples']:,} of {of['users']:,} users" + _begins(report, name)
            for name, of in splits
        )
        + ".",
    ]
    (most, user), *others = report["largest_users"]
    if most > _LARGE_SHARE * report["events"] and report["users"] > 10:
        result.append(
            f"Look: user {user!r} has {most / report['events']:.0%} of all events"
            + (f", the next one {others[0][0] / report['events']:.0%}" if others else "")
            + ". Is this id a placeholder for unknown users?"
        )
    if report["test_begins"]:
        begins, last = (
            datetime.date.fromisoformat(report[name]) for name in ("test_begins", "last_day")
        )
        days = (last - begins).days + 1
        if days < _FEW_DAYS:
            result.append(
                f"Look: the test split covers {days} days only. Its metrics say little about other "
                "days. Raise IMN_TEST_SHARE, or give a longer log."
            )
    return result
