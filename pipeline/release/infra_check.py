"""Does the export answer as the trained model does, where a server would load it?

TFX's InfraValidator needs Docker or Kubernetes. This check needs neither: it
starts a fresh process on the C API that TF Serving builds on, sends raw
Examples to `serving_default`, and the same as histories with a candidate each
to `rank`, and holds the answers against those of the in-memory Keras model (its
best weights, not its export) on the transformed Examples.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow.core.protobuf import saved_model_pb2
from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import path_utils

from model import trainer
from model.export import signatures
from pipeline.release import c_api
from transforms import features

_ROWS = 256
# float32 sums in another order than the training graph's: measured below 1e-6.
_TOLERANCE = 1e-5
_SECONDS = 300


def refusal(model_dir: str, model_run_dir: str, transform_dir: str, examples: list[bytes]) -> str:
    """Why the export must not be pushed, or "" when it may.

    Args:
      model_dir: the exported SavedModel.
      model_run_dir: where the trainer left the configuration and the best weights.
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
            return f"`{name}` gives {served.size} scores for {expected.size} Examples"
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
    history = (features.HISTORY_ITEM, features.HISTORY_TIME)
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
    model_dir: str, asked: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Scores, flat, by signature, from a process that holds only the export.

    Args:
      model_dir: the exported SavedModel.
      asked: the inputs by signature; each must have one output of floats.

    Raises:
      RuntimeError: where the export cannot be read, loaded or run.
    """
    try:
        with fileio.open(os.path.join(model_dir, "saved_model.pb"), "rb") as file:
            graph = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0]
        runs = []
        for name, inputs in asked.items():
            signature = graph.signature_def[name]
            (output,) = signature.outputs.values()
            feed = {
                signature.inputs[key].name: c_api.plain(value.ravel().tolist(), value.shape)
                for key, value in inputs.items()
            }
            runs.append({"feed": feed, "fetch": output.name})
    except Exception as error:  # whatever a broken file raises, the model is not served
        raise RuntimeError(f"saved_model.pb cannot be read ({error})") from error
    command = [sys.executable, "-m", "pipeline.release.c_api", model_dir]
    try:
        answer = subprocess.run(
            command,
            input=json.dumps(runs),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no answer within {_SECONDS} seconds") from None
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"exit status {answer.returncode}, {lines[-1].strip()}")
    return dict(zip(asked, map(np.array, json.loads(answer.stdout)), strict=True))


def in_memory_scores(model_run_dir: str, transform_dir: str, examples: list[bytes]) -> np.ndarray:
    """Scores `(B,)` of the Keras model on the Examples as Transform's own graph transforms them."""
    transform = tft.TFTransformOutput(transform_dir)
    raw = tf.io.parse_example(examples, transform.raw_feature_spec())
    ranker = trainer.load_trained(model_run_dir, transform_dir)
    logits = ranker(transform.transform_raw_features(raw), training=False)
    return tf.sigmoid(tf.reshape(logits, [-1])).numpy()


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
    """Blesses an export that loads and answers as trained; `verdict.json` says why it does not."""
    reason = refusal(
        path_utils.serving_model_path(model.uri),
        model_run.uri,
        transform_graph.uri,
        first_examples(artifact_utils.get_split_uri([examples], split), _ROWS),
    )
    blessing.set_int_custom_property("blessed", 0 if reason else 1)
    with fileio.open(os.path.join(blessing.uri, "verdict.json"), "w") as file:
        json.dump({"blessed": not reason, "reason": reason, "examples": _ROWS}, file)
