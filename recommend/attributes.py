"""Reads the attributes of items from the catalogue that a model was exported with."""

import os
from collections.abc import Collection

from pipeline.errors import InputError
from pipeline.items import source, values
from pipeline.items.fields import NUMBER
from transforms import item_table

_SHOWN = 4  # values of a field
_TITLES = ("title", "name", "product_title")  # columns of a catalogue


def read(folder: str, wanted: Collection[str]) -> tuple[dict[str, str], dict[str, str], str]:
    """Titles and attributes of the wanted items, and why they cannot be read, or "".

    The attributes of an item are one line. An item without a title has none in the titles.

    Args:
      folder: the SavedModel. One without attributes gives none, and no reason.
      wanted: ids.
    """
    table = item_table.described(os.path.join(folder, item_table.IN_EXPORT))
    if table is None:
        return {}, {}, ""
    titles: dict[str, str] = {}
    found: dict[str, str] = {}
    try:
        for part in source.plan(table.source)[0]:
            for _, row in source.read(part):
                if isinstance(row, dict):
                    item = values.item_id(row.get(table.id_column))
                    if item in wanted and item not in found:
                        found[item] = _line(row, table.fields)
                        named = (values.text(row[name]) for name in _TITLES if row.get(name))
                        titles[item] = next(named, "")
    except (InputError, OSError) as error:
        return {}, {}, str(error)
    return {item: title for item, title in titles.items() if title}, found, ""


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
