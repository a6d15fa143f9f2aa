"""The parts of a page: figures with their tables, tables, notes, users, links, pairs, sections."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of numbers and texts.

    Attributes:
      title: what it holds.
      columns: their names.
      rows: as many cells each. None is shown as a dash.
      folded: whether the page shows the rows only after a click.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    folded: bool = False


@dataclasses.dataclass(frozen=True)
class Figure:
    """A chart and the table behind it.

    Attributes:
      title: what it shows.
      says: how to read it, in a sentence or two.
      spec: Vega-Lite, without what `chart.THEME` holds.
      columns, rows: of the table.
    """

    title: str
    says: str
    spec: dict[str, Any]
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    @property
    def table(self) -> Table:
        """The numbers of the chart."""
        return Table(f"The numbers: {self.title}", self.columns, self.rows, folded=True)


@dataclasses.dataclass(frozen=True)
class Note:
    """A paragraph, or a command to copy."""

    text: str
    code: bool = False


@dataclasses.dataclass(frozen=True)
class Users:
    """Users with their rows and histories, as `diagnostics.users.users` describes them."""

    title: str
    users: Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Links:
    """Files beside the page, each with what it shows."""

    title: str
    links: Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Pair:
    """The blocks of two runs beside each other, each under the run's name."""

    names: tuple[str, str]
    sides: tuple[Sequence[Any], Sequence[Any]]


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page with its own heading; `blocks` are those above."""

    key: str
    title: str
    blocks: Sequence[Any]
