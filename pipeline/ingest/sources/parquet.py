"""Parquet files, a row group at a time."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.ingest.sources import event_columns, filesystem, times
from pipeline.ingest.sources.layout import (
    NEEDED,
    PARQUET,
    TIME,
    EmptyFileError,
    Layout,
    known_names,
    roles_of,
)
from pipeline.ingest.sources.records import Range, Records

# Before 14.0.1, pyarrow runs code that a Parquet file carries (CVE-2023-47248). Importing this
# package stops that. Later versions do not need it.
with contextlib.suppress(ModuleNotFoundError):
    import pyarrow_hotfix  # noqa: F401

_ROWS = 1 << 20


def open_file(path: str, file: Any) -> pq.ParquetFile:
    """An opened file as Parquet. Code in it is not run.

    Args:
      path: for the message of an error.
      file: the file.

    Raises:
      InputError: if the file is damaged, or if a column of it carries code.
    """
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path!r} is not a whole Parquet file ({error}).") from None
    except RuntimeError as error:
        if "py_extension_type" not in str(error):
            raise
        raise InputError(
            f"{path!r} has a column whose type is Python code, which is not run. Write the file "
            "without that column."
        ) from None


def batches(
    path: str, file: pq.ParquetFile, rows: int, **which: list[Any]
) -> Iterator[pa.RecordBatch]:
    """The rows of an opened file.

    Args:
      path: for the message of an error.
      file: the file.
      rows: of a batch, at most.
      **which: `row_groups` and `columns`, as pyarrow has them.

    Raises:
      InputError: if the file is damaged, or compressed in a way that pyarrow does not know.
    """
    try:
        yield from file.iter_batches(rows, **which)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path!r} must be whole Parquet that pyarrow can read. Received: "
            f"{' '.join(str(error).split())}. Fetch it again, or write it "
            "anew with the compression snappy or zstd."
        ) from None


def recognise(path: str, columns: str, event_fields: str = "") -> tuple[Layout, int]:
    """The layout of a Parquet file and the number of its row groups.

    Args:
      path: of the file.
      columns: the setting.
      event_fields: the setting.

    Raises:
      EmptyFileError: if it has no rows.
      InputError: if the file is damaged, or if a user, an item or a time is missing.
      SettingsError: if there is no column of an event field, or one that holds no texts.
    """
    with filesystem.open_binary(path) as opened:
        file = open_file(path, opened)
        if not file.metadata.num_rows:
            raise EmptyFileError(
                f"`ratings` names {path!r}, which is empty. Give files with ratings."
            )
        names = file.schema_arrow.names
        roles = roles_of(path, names, columns)
        if not roles.keys() >= NEEDED:
            raise InputError(
                f"{path!r} must have columns for a user, an item and a time. Known names: "
                f"{known_names()}. Received: {', '.join(names)}. For other names set, for example, "
                'IMN_COLUMNS="user=uid,item=sku,time=at".'
            )
        roles |= event_columns.roles_of(path, names, roles, event_fields)
        parts = batches(path, file, 1000, columns=_names(roles))
        batch = next(part for part in parts if part.num_rows)
        is_instant = pa.types.is_temporal(batch[batch.schema.get_field_index(roles[TIME])].type)
        columns_read = _columns(path, batch, roles)
        texts = {role: column.to_pylist() for role, column in columns_read.items()}
        sample = {role: values[0] for role, values in texts.items()}
        unit = "us" if is_instant else times.unit(texts[TIME]) or "s"
        layout = Layout(PARQUET, tuple(roles.values()), roles, unit=unit, sample=sample)
        return layout, file.num_row_groups


def read(part: Range, block_bytes: int) -> Iterator[Records]:
    """The rows of the row groups from `part.start` to `part.end`.

    Raises:
      InputError: if the file is damaged, or if texts are not UTF-8.
    """
    del block_bytes
    with filesystem.open_binary(part.path) as opened:
        file = open_file(part.path, opened)
        first = sum(file.metadata.row_group(group).num_rows for group in range(part.start))
        names = part.layout.roles
        groups = list(range(part.start, part.end))
        for batch in batches(part.path, file, _ROWS, row_groups=groups, columns=_names(names)):
            columns = _columns(part.path, batch, names)
            places = first + np.arange(batch.num_rows)
            yield Records(
                columns,
                places,
                lambda row, columns=columns: ",".join(  # type: ignore[misc]
                    column[row].as_py() for column in columns.values()
                ),
                [],
                batch.num_rows,
            )
            first += batch.num_rows


def _names(roles: Mapping[str, str]) -> list[str]:
    """The columns of some roles, each once."""
    return list(dict.fromkeys(roles.values()))


def _columns(path: str, batch: pa.RecordBatch, roles: Mapping[str, str]) -> dict[str, pa.Array]:
    """The texts of each role."""
    columns = {}
    for role, name in roles.items():
        column = batch[batch.schema.get_field_index(name)]
        try:
            columns[role] = _texts(column)
            columns[role].validate(full=True)  # that texts are UTF-8
        except (pa.ArrowException, NotImplementedError) as error:
            raise InputError(
                f"Columns of {path!r} that are read must hold texts, numbers or times; texts and "
                f"bytes must be UTF-8. Received: {name!r}, of {column.type} ({error}). Convert it, "
                "bytes that are no text for example to hexadecimal digits."
            ) from None
    return columns


def _texts(column: pa.Array) -> pa.Array:
    """A column as texts; null is "", an instant is its microseconds since 1970."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        return _float_texts(column)
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = column.cast(pa.large_string())
    return pc.fill_null(column.cast(pa.string()), "")


def _float_texts(column: pa.Array) -> pa.Array:
    """Numbers as texts, each by itself: a number has one text, whatever stands beside it.

    A whole number has no point: pandas turns whole numbers to floats where one is missing.
    """
    texts, column = column.cast(pa.string()), column.cast(pa.float64())
    whole = pc.and_kleene(pc.less(pc.abs(column), 2.0**63), pc.equal(pc.floor(column), column))
    numbers = pc.if_else(whole, column, 0.0).cast(pa.int64(), safe=False).cast(pa.string())
    return pc.fill_null(pc.if_else(whole, numbers, texts), "")
