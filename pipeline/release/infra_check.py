"""Compares the export, loaded by a fresh process, with the trained model in memory.

TFX's InfraValidator needs Docker or Kubernetes; this check does not. A fresh process loads the
SavedModel into a session and scores raw Examples by `serving_default`, and the same histories
and candidates by `rank`. Both must equal the Keras model with its best weights on the transformed
Examples.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import path_utils

from model import trainer
from model.export import signatures
from transforms import features

_ROWS = 256
# float32 sums in another order than the training graph's: measured below 1e-6.
_TOLERANCE = 1e-5
_SECONDS = 300


def refusal(model_dir: str, model_run_dir: str, transform_dir: str, examples: list[bytes]) -> str:
    """The reason to refuse the export, or "".

    Args:
      model_dir: the exported SavedModel.
      model_run_dir: folder of the configuration and the best weights.
      transform_dir: the Transform graph.
      examples: serialized raw Examples to compare on.
    """
    expected = in_memory_scores(model_run_dir, transform_dir, examples)
    spec = tft.TFTransformOutput(transform_dir).raw_feature_spec()
    try:
        answers = served_scores(model_dir, requests(examples, spec))
    except RuntimeError as error:
        return f"the export cannot be served: {error}"
    for name, served in answers.items():
        if served.shape != expected.shape:
            return f"`{name}` returns {served.size} scores for {expected.size} Examples"
        if not np.isfinite(served).all():
            odd = np.sum(~np.isfinite(served))
            return f"{odd} of {served.size} scores of `{name}` are not finite"
        difference = float(np.abs(served - expected).max())
        if difference > _TOLERANCE:
            return (
                f"`{name}` of the export answers differently from the trained model: by "
                f"{difference:.2g} at most over {served.size} Examples, {_TOLERANCE:g} is allowed"
            )
    return ""


def requests(examples: list[bytes], spec: Mapping[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """The same Examples for `serving_default`, `(B,)`, and for `rank`, a candidate a history."""
    raw = {name: value.numpy() for name, value in tf.io.parse_example(examples, spec).items()}
    history = (features.HISTORY_ITEM, features.HISTORY_TIME, *features.of_events(raw))
    return {
        "serving_default": {"examples": np.array(examples, object)},
        "rank": {name: raw[name] for name in history}
        | {
            features.HISTORY_LENGTH: raw[features.HISTORY_LENGTH][:, 0],
            signatures.REQUEST_TIME: raw[features.TARGET_TIME][:, 0],
            signatures.CANDIDATES: raw[features.TARGET_ITEM],
        },
    }


def served_scores(
    model_dir: str, inputs: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Scores, flat, by signature, of signatures with one output; see `served_outputs`."""
    outputs = served_outputs(model_dir, inputs)
    return {key.partition("/")[0]: values.ravel() for key, values in outputs.items()}


def served_outputs(
    model_dir: str, inputs: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Outputs `SIGNATURE/OUTPUT`, from a process that holds only the export.

    Args:
      model_dir: the exported SavedModel.
      inputs: by signature and name.

    Raises:
      RuntimeError: if the export cannot be read, loaded or run.
    """
    with tempfile.TemporaryDirectory() as folder:
        requests_file, answers = (os.path.join(folder, name) for name in ("in.npz", "out.npz"))
        np.savez(
            requests_file,
            **{
                f"{key}/{name}": value
                for key, values in inputs.items()
                for name, value in values.items()
            },
        )
        command = [sys.executable, "-m", "pipeline.release.fresh_session"]
        try:
            process = subprocess.run(
                [*command, model_dir, requests_file, answers],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"no answer within {_SECONDS} seconds") from None
        if process.returncode:
            lines = process.stderr.strip().splitlines() or ["no message"]
            raise RuntimeError(f"exit status {process.returncode}, {lines[-1].strip()}")
        with np.load(answers, allow_pickle=True) as arrays:
            return dict(arrays)


def in_memory_scores(model_run_dir: str, transform_dir: str, examples: list[bytes]) -> np.ndarray:
    """Scores `(B,)` of the Keras model on the Examples, transformed by the Transform graph."""
    transform = tft.TFTransformOutput(transform_dir)
    raw = tf.io.parse_example(examples, transform.raw_feature_spec())
    ranker = trainer.load_trained(model_run_dir, transform_dir)
    logits = ranker(transform.transform_raw_features(raw), training=False)
    return ranker.probabilities(tf.reshape(logits, [-1])).numpy()


def first_examples(split_dir: str, count: int) -> list[bytes]:
    """The first `count` serialized Examples of a split's TFRecord files."""
    files = sorted(fileio.glob(os.path.join(split_dir, "*")))
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").take(count)
    return list(records.as_numpy_iterator())


@tfx.dsl.components.component
def InfraCheck(
    model: InputArtifact[tfx.types.standard_artifacts.Model],
    model_run: InputArtifact[tfx.types.standard_artifacts.ModelRun],
    transform_graph: InputArtifact[tfx.types.standard_artifacts.TransformGraph],
    examples: InputArtifact[tfx.types.standard_artifacts.Examples],
    blessing: OutputArtifact[tfx.types.standard_artifacts.InfraBlessing],
    split: Parameter[str] = features.SPLITS[1],
) -> None:
    """Blesses an export that loads and scores as trained; `verdict.json` has the reason if not."""
    reason = refusal(
        path_utils.serving_model_path(model.uri),
        model_run.uri,
        transform_graph.uri,
        first_examples(artifact_utils.get_split_uri([examples], split), _ROWS),
    )
    blessing.set_int_custom_property("blessed", 0 if reason else 1)
    with fileio.open(os.path.join(blessing.uri, "verdict.json"), "w") as file:
        json.dump({"blessed": not reason, "reason": reason, "examples": _ROWS}, file)
