"""Parquet files, a row group at a time."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.ingest.sources import filesystem, times
from pipeline.ingest.sources.layout import (
    NEEDED,
    PARQUET,
    TIME,
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


def recognise(path: str, columns: str) -> tuple[Layout, int]:
    """The layout of a Parquet file and the number of its row groups.

    Raises:
      InputError: if the file is damaged or empty, or if a user, an item or a time is missing.
    """
    with filesystem.open_binary(path) as opened:
        file = open_file(path, opened)
        names = file.schema_arrow.names
        roles = roles_of(path, names, columns)
        if not roles.keys() >= NEEDED:
            raise InputError(
                f"{path!r} must have columns for a user, an item and a time. Known names: "
                f"{known_names()}. Received: {', '.join(names)}. For other names set, for example, "
                'IMN_COLUMNS="user=uid,item=sku,time=at".'
            )
        batch = next(file.iter_batches(1000, columns=list(roles.values())), None)
        if batch is None or not batch.num_rows:
            raise InputError(f"`ratings` names {path!r}, which is empty. Give files with ratings.")
        is_instant = pa.types.is_temporal(batch[batch.schema.get_field_index(roles[TIME])].type)
        texts = {role: _texts(batch[name]).to_pylist() for role, name in roles.items()}
        sample = {role: values[0] for role, values in texts.items()}
        unit = "us" if is_instant else times.unit(texts[TIME]) or "s"
        layout = Layout(PARQUET, tuple(roles.values()), roles, unit=unit, sample=sample)
        return layout, file.num_row_groups


def read(part: Range, block_bytes: int) -> Iterator[Records]:
    """The rows of the row groups from `part.start` to `part.end`."""
    del block_bytes
    with filesystem.open_binary(part.path) as opened:
        file = open_file(part.path, opened)
        first = sum(file.metadata.row_group(group).num_rows for group in range(part.start))
        names = part.layout.roles
        for batch in file.iter_batches(
            _ROWS, row_groups=list(range(part.start, part.end)), columns=list(names.values())
        ):
            columns = {role: _texts(batch[name]) for role, name in names.items()}
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


def _texts(column: pa.Array) -> pa.Array:
    """A column as texts; null is "", an instant is its microseconds since 1970."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    elif pa.types.is_floating(column.type):
        # pandas turns whole numbers to floats where one is missing.
        whole = pc.and_kleene(pc.is_finite(column), pc.equal(pc.floor(column), column))
        if pc.all(whole).as_py():
            column = column.cast(pa.int64(), safe=False)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = column.cast(pa.large_string(), safe=False)
    column = column.cast(pa.string())
    return pc.fill_null(column, "")
