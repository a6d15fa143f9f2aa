"""What a run will read of a catalogue; found out without Beam or TensorFlow."""

from pipeline.ingest.sources import filesystem
from pipeline.items import fields, source


def describe(items: str, item_fields: str) -> list[str]:
    """What a run will read of the catalogue, as lines for the screen.

    Raises:
      InputError: if it cannot be read.
    """
    paths = filesystem.list_files(items, "items").paths
    choice = fields.choose(paths[0], source.head(paths), item_fields)
    shown = ", ".join(paths[:10]) + (", …" if len(paths) > 10 else "")
    files = f"{len(paths)} file{'s' if len(paths) > 1 else ''}"
    return [f"Items: {files}: {shown}", *choice.describe()]
