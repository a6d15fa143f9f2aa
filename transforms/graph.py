"""Writes a Transform graph from a dataset, where TFX's Transform is not there to do it."""

from typing import Any

import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

from transforms import preprocessing


def write(samples: Any, schema: schema_pb2.Schema, config: dict[str, Any], folder: str) -> Any:
    """Analyses samples, and writes their graph and schema as TFX's Transform does.

    Args:
      samples: a dataset of TensorFlow Transform: rows or record batches, with their metadata.
      schema: of the raw samples.
      config: the `custom_config` of `preprocessing.preprocessing_fn`.
      folder: of the graph.

    Returns:
      the graph, for `tft_beam.TransformDataset` in the same Beam job.
    """
    graph = samples | tft_beam.AnalyzeDataset(
        lambda inputs: preprocessing.preprocessing_fn(inputs, config)
    )
    _ = graph | tft_beam.WriteTransformFn(folder)
    metadata_io.write_metadata(
        dataset_metadata.DatasetMetadata(schema),
        f"{folder}/{tft.TFTransformOutput.RAW_METADATA_DIR}",
    )
    return graph
