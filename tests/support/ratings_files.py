"""Ratings files in tests: written, and read back as plain Python."""

import pathlib

from pipeline.configs import Settings
from pipeline.ingest.sources import reading

NOW = 1_700_000_000
SECOND = 1_000_000


def write(path: pathlib.Path, content: str | bytes) -> str:
    """Writes a file and the folders above it; gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def read(
    path: object,
    min_rating: float = 0.0,
    range_bytes: int = 1 << 20,
    block_bytes: int = 1 << 20,
    **settings: str,
) -> tuple[list[tuple[str, str, float]], list[tuple[int, str, str]], int, int]:
    """Events (sorted; user, item, seconds), bad lines, lines, and those below `min_rating`."""
    ranges, _ = reading.plan(Settings(ratings=str(path), **settings), range_bytes)
    parsed = [
        block for part in ranges for block in reading.read(part, min_rating, NOW, block_bytes)
    ]
    events = [
        (row["user"].decode(), row["item"].decode(), row["time"] / SECOND)
        for block in parsed
        for row in block.events.to_pylist()
    ]
    bad = sorted(entry for block in parsed for entry in block.bad)
    lines, unwanted = (sum(getattr(b, name) for b in parsed) for name in ("lines", "unwanted"))
    return sorted(events), bad, lines, unwanted


def layout(path: object, **settings: str) -> object:
    """The layout of one file."""
    ((found, _),) = reading.layouts([str(path)], Settings(**settings)).values()
    return found
