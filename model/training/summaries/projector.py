"""Item embeddings for TensorBoard's projector, with metadata of each item."""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.plugins.projector import ProjectorConfig

from model.ranker import Ranker
from model.training.summaries import items
from model.training.summaries.items import ItemNames

ITEMS = 10_000  # the most frequent ones
_VECTORS, _METADATA = "item_vectors.tsv", "items.tsv"


def write(folder: str, ranker: Ranker, frequency: np.ndarray, names: ItemNames) -> None:
    """Writes the vectors of the most frequent items, with id, title, frequency and attributes.

    Args:
      folder: of a run of TensorBoard.
      ranker: with the weights to show.
      frequency: training samples of each id as a target, positives alone.
      names: of the items.
    """
    first = names.ids.first_known
    known = np.arange(first, names.ids.first_new)
    most = known[np.argsort(-frequency[first : names.ids.first_new], kind="stable")[:ITEMS]]
    vectors = ranker.encoder.candidates(tf.constant(most[:, None])).numpy()[:, 0]
    lines = ["\t".join(f"{value:.5g}" for value in vector) for vector in vectors]
    _write(folder, _VECTORS, lines)

    columns = {"item": names.raw(most), "title": names.titles(most)}
    columns["frequency"] = [str(count) for count in frequency[most]]
    if ranker.encoder.attributes and names.table:
        rows = ranker.encoder.attributes.values(tf.constant(most, tf.int32))
        for number, field in enumerate(names.table.fields):
            vocabulary = names.table.vocabulary(number) if field.kind == "category" else []
            columns[field.name] = items.values(field, vocabulary, rows[field.name].numpy())
    if not any(columns["title"]):
        del columns["title"]
    table = [list(columns), *zip(*columns.values(), strict=True)]
    _write(folder, _METADATA, [_line(row) for row in table])

    config = ProjectorConfig()
    config.embeddings.add(
        tensor_name="items",
        tensor_path=_VECTORS,
        metadata_path=_METADATA,
        tensor_shape=vectors.shape,
    )
    _write(folder, "projector_config.pbtxt", [text_format.MessageToString(config)])


def _line(cells: Sequence[str]) -> str:
    return "\t".join(" ".join(cell.split()) for cell in cells)


def _write(folder: str, name: str, lines: Sequence[str]) -> None:
    with tf.io.gfile.GFile(os.path.join(folder, name), "w") as file:
        file.write("\n".join(lines) + "\n")
