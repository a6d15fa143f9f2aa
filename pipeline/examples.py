"""Examples artifacts: all their shards must be there, whoever reads them."""

import os

from tfx import types
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from pipeline.errors import InputError


def shard_count(examples: types.Artifact, split: str) -> int:
    """Files of a split."""
    (uri,) = artifact_utils.get_split_uris([examples], split)
    return len(fileio.glob(os.path.join(uri, "*")))


def set_shards(examples: types.Artifact, split: str) -> None:
    """Keeps the number of files of a split in the artifact's property `shards_SPLIT`."""
    examples.set_int_custom_property(f"shards_{split}", shard_count(examples, split))


def require_all_shards(artifacts: list[types.Artifact]) -> None:
    """Compares the files of every split with the property `shards_SPLIT`, where there is one.

    Raises:
      InputError: if a file is missing, or if there are more than were written.
    """
    for examples in artifacts:
        for split in artifact_utils.decode_split_names(examples.split_names):
            name = f"shards_{split}"
            if not examples.has_custom_property(name):
                continue
            expected, found = examples.get_int_custom_property(name), shard_count(examples, split)
            if found != expected:
                raise InputError(
                    f"The split `{split}` of Examples must have {expected} files. Received: "
                    f"{found} in {examples.uri}. Restore them, or run with another IMN_OUTPUT."
                )
