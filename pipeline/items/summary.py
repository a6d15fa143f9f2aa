"""What the item table holds, as `report.json` and as lines for the screen."""

from typing import Any

from pipeline.items.fields import Choice


def report(choice: Choice, result: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The content of `report.json`."""
    names = ("lines", "bad", "items", "repeated", "conflicts", "bare", "filled", "odd", "cut")
    known = ("known_items", "known_events", "training_items", "training_events", "unknown")
    return {
        "id": choice.item,
        "fields": {field.name: field.kind for field in choice.fields},
        "left_out": dict(choice.left_out),
        **{name: result.get(name, 0) for name in (*names, *known)},
        "distinct": result.get("distinct", {}),
        "seconds": round(seconds, 1),
    }


def lines(report: dict[str, Any]) -> list[str]:
    """Two lines: what was read, and where to look."""
    fields = ", ".join(
        f"{name} ({_kind(report, name)}, {count / max(report['items'], 1):.0%} of items)"
        for name, count in report["filled"].items()
    )
    events = report["training_events"]
    known = f", {report['known_events'] / events:.1%} of training events" if events else ""
    result = [f"Items: {report['items']:,} of {report['lines']:,} rows{known}; {fields}"]
    look = [f"{count:,} bad rows ({why})" for why, count in report["bad"].items()]
    if report["repeated"]:
        look.append(f"{report['repeated']:,} repeated ids, {report['conflicts']:,} contradict")
    if report["bare"]:
        look.append(f"{report['bare']:,} items without any attribute")
    look += [
        f"{count:,} values of {name} left out ({why})"
        for name, reasons in report["odd"].items()
        for why, count in reasons.items()
    ]
    look += [
        f"{count:,} values of {name} beyond the first 16 of an item"
        for name, count in report["cut"].items()
        if count
    ]
    return [*result, f"Look: {'; '.join(look)}."] if look else result


def _kind(report: dict[str, Any], name: str) -> str:
    distinct = report["distinct"].get(name)
    return f"{distinct:,} values" if distinct else report["fields"][name]
