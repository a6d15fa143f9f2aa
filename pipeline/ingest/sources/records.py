"""Rows of a file as texts, and blocks of whole lines."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from pipeline.ingest.sources import compression, filesystem
from pipeline.ingest.sources.layout import Layout

BLOCK_BYTES = 32 << 20  # of text that is parsed at once
BadLine = tuple[int, str, str]  # place, reason, text
NOT_UTF8 = "not UTF-8"


@dataclasses.dataclass(frozen=True)
class Range:
    """A part of a file that one worker reads.

    Attributes:
      path: of the file.
      number: among all ranges of the job.
      start: first byte; of Parquet, the first row group.
      end: after the last one. A line belongs to the range that it begins in.
      compression: of the file; a compressed file is one range.
      layout: of the file.
      multiline: whether a quoted field may span lines.
    """

    path: str
    number: int
    start: int
    end: int
    compression: str
    layout: Layout
    multiline: bool = False

    @property
    def place(self) -> str:
        """What a row's place counts: "offset" (bytes), "line" or "row"."""
        if self.layout.format == "parquet":
            return "row"
        return "line" if self.compression else "offset"


@dataclasses.dataclass(frozen=True)
class Block:
    """Whole lines. `offset` is the byte of the first line, or its line number if compressed."""

    offset: int
    data: bytes
    last: bool = True


@dataclasses.dataclass
class Records:
    """Rows with the right number of fields, as texts, and the lines that are none.

    Attributes:
      columns: texts of each role, N of them, none of them null.
      places: of the rows, shape (N,).
      text: gives the text of a row by its index, for messages.
      bad: lines that are not rows.
      lines: rows and bad lines together.
    """

    columns: dict[str, pa.Array]
    places: np.ndarray
    text: Callable[[int], str]
    bad: list[BadLine]
    lines: int


def text_blocks(part: Range, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The lines of a range, a block at a time.

    Raises:
      InputError: if a compressed file is cut off or damaged.
    """
    if part.compression or part.multiline:
        yield from _in_order(part, block_bytes)
        return
    with filesystem.open_binary(part.path) as file:
        # A line that begins at `start` belongs here: the byte before it ends another.
        begin = max(part.start - 1, 0)
        file.seek(begin)
        data = file.read(part.end - begin)
        if part.start:
            cut = data.find(b"\n") + 1
            if not cut:
                return
            begin, data = begin + cut, data[cut:]
        pieces = [data]
        while pieces[-1] and not pieces[-1].endswith(b"\n"):
            more = file.read(1 << 16)
            newline = more.find(b"\n") + 1
            pieces.append(more[:newline] if newline else more)
        data = b"".join(pieces)
        if data:
            yield Block(begin, data)


def _in_order(part: Range, block_bytes: int) -> Iterator[Block]:
    offset, rest = (1 if part.compression else 0), [b""]
    with compression.open_text(part.path, part.compression) as text:
        while data := text.read(block_bytes):
            cut = data.rfind(b"\n") + 1
            if not cut:
                rest.append(data)
                continue
            whole = b"".join([*rest, data[:cut]])
            yield Block(offset, whole, last=False)
            offset += whole.count(b"\n") if part.compression else len(whole)
            rest = [data[cut:]]
    yield Block(offset, b"".join(rest))


class Lines:
    """The lines of a block that are not blank, without line ends and byte order marks.

    Attributes:
      data: the block as uint8.
      begins: first byte of each line, shape (N,).
      ends: after its last byte, shape (N,).
      places: in the file, shape (N,).
    """

    def __init__(self, block: Block, by_number: bool) -> None:
        self.block = block
        self.data = np.frombuffer(block.data, np.uint8)
        ends = np.flatnonzero(self.data == ord("\n"))
        if len(self.data) and not (len(ends) and ends[-1] == len(self.data) - 1):
            ends = np.append(ends, len(self.data))
        begins = np.append(0, ends[:-1] + 1) if len(ends) else ends
        self.places = (np.arange(len(ends)) if by_number else begins) + block.offset
        if b"\r" in block.data:
            ends = ends - ((ends > begins) & (self.data[(ends - 1).clip(0)] == ord("\r")))
        if b"\xef\xbb\xbf" in block.data:
            begins = begins + 3 * _starts_with_mark(self.data, begins, ends)
        self.begins, self.ends = begins, ends
        self._keep(~self._blank())

    def __len__(self) -> int:
        return len(self.begins)

    def bytes_of(self, index: int) -> bytes:
        """The bytes of a line."""
        return self.block.data[self.begins[index] : self.ends[index]]

    def text(self, index: int) -> str:
        """A line for messages."""
        return self.bytes_of(index).decode("utf-8", "backslashreplace")

    def drop_first(self) -> None:
        """Leaves out the first line."""
        self._keep(np.arange(len(self)) > 0)

    def holding(self, byte: int) -> np.ndarray:
        """Indices of the lines that hold a byte."""
        if bytes([byte]) not in self.block.data:
            return np.zeros(0, np.int64)
        return self._lines_at(np.flatnonzero(self.data == byte))

    def not_utf8(self) -> np.ndarray:
        """Indices of the lines that are not UTF-8."""
        if self.block.data.isascii():
            return np.zeros(0, np.int64)
        try:
            str(self.block.data, "utf-8")
            return np.zeros(0, np.int64)
        except UnicodeDecodeError:
            lines = self._lines_at(np.flatnonzero(self.data >= 0x80))
            return np.array([line for line in lines if not _is_utf8(self.bytes_of(line))], np.int64)

    def _blank(self) -> np.ndarray:
        blank = self.ends <= self.begins
        first = (
            self.data[self.begins.clip(max=max(len(self.data) - 1, 0))] if len(self.data) else blank
        )
        for index in np.flatnonzero(~blank & (first <= 32)):
            blank[index] = not self.bytes_of(int(index)).strip()
        return blank

    def _keep(self, rows: np.ndarray) -> None:
        if not rows.all():
            self.begins, self.ends, self.places = (
                values[rows] for values in (self.begins, self.ends, self.places)
            )

    def _lines_at(self, positions: np.ndarray) -> np.ndarray:
        lines = np.unique(np.searchsorted(self.ends, positions, side="right"))
        return lines[lines < len(self)]


def _starts_with_mark(data: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    result = ends - begins >= 3
    for shift, byte in enumerate(b"\xef\xbb\xbf"):
        result &= data[(begins + shift).clip(max=len(data) - 1)] == byte
    return result


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
