"""Examples artifacts: all that was written must be there, whoever reads it."""

import os

import tensorflow as tf
from tfx import types
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from pipeline.errors import InputError


def sizes(examples: types.Artifact, split: str) -> dict[str, int]:
    """The number of files of a split (`shards`) and their bytes together (`bytes`)."""
    (uri,) = artifact_utils.get_split_uris([examples], split)
    files = fileio.glob(os.path.join(uri, "*"))
    return {
        "shards": len(files),
        "bytes": sum(tf.io.gfile.stat(str(file)).length for file in files),
    }


def set_sizes(examples: types.Artifact, split: str) -> None:
    """Keeps the sizes of a split in the artifact's properties `shards_SPLIT` and `bytes_SPLIT`."""
    for name, value in sizes(examples, split).items():
        examples.set_int_custom_property(f"{name}_{split}", value)


def row_count(examples: types.Artifact, split: str) -> int:
    """The rows of a split, as ingestion counted them; 0 for Examples that it did not write."""
    name = f"rows_{split}"
    known = examples.has_custom_property(name)
    return examples.get_int_custom_property(name) if known else 0


def require_all_shards(artifacts: list[types.Artifact]) -> None:
    """Compares the files of every split with its properties, where there are any.

    Raises:
      InputError: if a file is missing, added, cut off or emptied.
    """
    for examples in artifacts:
        for split in artifact_utils.decode_split_names(examples.split_names):
            if not examples.has_custom_property(f"shards_{split}"):
                continue
            found = sizes(examples, split)
            expected = {name: examples.get_int_custom_property(f"{name}_{split}") for name in found}
            if found != expected:
                raise InputError(
                    f"The split `{split}` of Examples must have {expected['shards']} files of "
                    f"{expected['bytes']:,} bytes. Received: {found['shards']} files of "
                    f"{found['bytes']:,} bytes in {examples.uri}. Restore them, or run with "
                    "another IMN_OUTPUT."
                )
