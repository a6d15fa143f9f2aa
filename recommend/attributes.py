"""Reads the attributes of items from the catalogue that a model was exported with."""

import os
from collections.abc import Collection

from pipeline.errors import InputError
from pipeline.items import source, values
from pipeline.items.fields import NUMBER
from transforms import item_table

_SHOWN = 4  # values of a field


def read(folder: str, wanted: Collection[str]) -> tuple[dict[str, str], str]:
    """The attributes of the wanted items as one line each, and why there are none, or "".

    Args:
      folder: the SavedModel. One without attributes gives none, and no reason.
      wanted: ids.
    """
    table = item_table.described(os.path.join(folder, item_table.IN_EXPORT))
    if table is None:
        return {}, ""
    found: dict[str, str] = {}
    try:
        for part in source.plan(table.source)[0]:
            for _, row in source.read(part):
                if isinstance(row, dict):
                    item = values.item_id(row.get(table.id_column))
                    if item in wanted and item not in found:
                        found[item] = _line(row, table.fields)
    except (InputError, OSError) as error:
        return {}, f"Attributes cannot be shown: {error}"
    return found, ""


def _line(row: dict, fields: Collection[item_table.AttributeField]) -> str:
    parts = []
    for field in fields:
        raw = row.get(field.name)
        if field.kind == NUMBER:
            number, _ = values.number(raw)
            words = [] if number is None else [f"{field.name} {number:g}"]
        else:
            words = values.categories(raw)[0]
        if words:
            parts.append(", ".join(words[:_SHOWN]) + (", …" if len(words) > _SHOWN else ""))
    return "; ".join(parts)
