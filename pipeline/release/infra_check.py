"""Compares the export, loaded by a fresh process, with the trained model in memory.

TFX's InfraValidator needs Docker or Kubernetes; this check does not. A fresh process loads the
SavedModel into a session and scores raw Examples by `serving_default`, and the same histories
and candidates by `rank`. Both must equal the Keras model with its best weights on the transformed
Examples. So must the scores of the items that `recommend` and `retrieve` name.
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
from model.export.recommend import K
from model.export.requests import REQUEST_TIME, Requests
from model.retrieval.retrieval_head import newest_events, unit
from transforms import features

_ROWS = 256
# float32 sums in another order than the training graph's: measured below 1e-6.
_TOLERANCE = 1e-5
_SECONDS = 300
_RECOMMENDED = 10  # items of each history, of `_HISTORIES` histories
_HISTORIES = 16


# The outputs that are compared, by signature.
SCORES = {"serving_default": "score", "rank": "scores"}
SEARCHED = {"retrieve": "scores", "recommend": "probabilities"}


def refusal(model_dir: str, model_run_dir: str, transform_dir: str, examples: list[bytes]) -> str:
    """The reason to refuse the export, or "".

    Args:
      model_dir: the exported SavedModel.
      model_run_dir: folder of the configuration and the best weights.
      transform_dir: the Transform graph.
      examples: serialized raw Examples to compare on.
    """
    trained = Trained(model_run_dir, transform_dir)
    expected = trained.scores(examples)
    asked = requests(examples, trained.transform.raw_feature_spec(), trained.searches)
    try:
        outputs = served_outputs(model_dir, asked)
    except RuntimeError as error:
        return f"the export cannot be served: {error}"
    compared = {name: (outputs[f"{name}/{SCORES[name]}"].ravel(), expected) for name in SCORES}
    if trained.searches:
        for name in SEARCHED:
            items = outputs[f"{name}/items"]
            in_memory = trained.item_scores(name, examples[: len(items)], items)
            served = outputs[f"{name}/{SEARCHED[name]}"].ravel()
            compared[name] = (served, in_memory)
    for name, (served, scores) in compared.items():
        if served.shape != scores.shape:
            return f"`{name}` returns {served.size} scores for {scores.size}"
        if not np.isfinite(served).all():
            odd = np.sum(~np.isfinite(served))
            return f"{odd} of {served.size} scores of `{name}` are not finite"
        difference = float(np.abs(served - scores).max(initial=0.0))
        if difference > _TOLERANCE:
            return (
                f"`{name}` of the export answers differently from the trained model: by "
                f"{difference:.2g} at most over {len(examples)} Examples, {_TOLERANCE:g} is allowed"
            )
    return ""


def requests(
    examples: list[bytes], spec: Mapping[str, Any], searches: bool = False
) -> dict[str, dict[str, np.ndarray]]:
    """Inputs by signature and name, from the same Examples.

    `serving_default` gets all `(B,)`, `rank` a candidate for each history. With `searches`,
    `retrieve` and `recommend` get the first histories.
    """
    raw = {name: value.numpy() for name, value in tf.io.parse_example(examples, spec).items()}
    names = (features.HISTORY_ITEM, features.HISTORY_TIME, *features.of_events(raw))
    history = {name: raw[name] for name in names} | {
        features.HISTORY_LENGTH: raw[features.HISTORY_LENGTH][:, 0],
        REQUEST_TIME: raw[features.TARGET_TIME][:, 0],
    }
    result = {
        "serving_default": {"examples": np.array(examples, object)},
        "rank": history | {signatures.CANDIDATES: raw[features.TARGET_ITEM]},
    }
    if searches:
        few = {name: values[:_HISTORIES] for name, values in history.items()}
        k = np.full(len(few[REQUEST_TIME]), _RECOMMENDED)
        result |= {name: few | {K: k} for name in SEARCHED}
    return result


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
        requests: dict[str, Any] = {
            f"{key}/{name}": value
            for key, values in inputs.items()
            for name, value in values.items()
        }
        np.savez(requests_file, **requests)
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


class Trained:
    """The Keras model of a training behind its Transform graph, in memory.

    Args:
      model_run_dir: folder of the configuration and the best weights.
      transform_dir: the Transform graph.
    """

    def __init__(self, model_run_dir: str, transform_dir: str):
        self.transform = tft.TFTransformOutput(transform_dir)
        self._ranker = trainer.load_trained(model_run_dir, transform_dir)

    @property
    def searches(self) -> bool:
        """Whether the model has a first stage."""
        return self._ranker.retrieval is not None

    def scores(self, examples: list[bytes]) -> np.ndarray:
        """Probabilities `(B,)` of the targets of serialized raw Examples."""
        logits = self._ranker(self._inputs(examples), training=False)
        return self._ranker.probabilities(tf.reshape(logits, [-1])).numpy()

    def item_scores(self, signature: str, examples: list[bytes], items: np.ndarray) -> np.ndarray:
        """Scores, flat, of raw ids `(B, K)` as `retrieve` or `recommend` must give them."""
        inputs, head = self._inputs(examples), self._ranker.retrieval
        assert head is not None
        names = features.of_events(inputs)
        reader = Requests(
            self.transform.transform_features_layer(),
            inputs[features.HISTORY_ITEM].shape[1],
            names,
        )
        ids = reader.ids(tf.constant(items))
        if signature == "recommend":
            logits = self._ranker.score(self._ranker.encode(inputs), ids)
            scores = self._ranker.probabilities(logits)
        else:
            newest = newest_events(inputs)
            history = newest[features.HISTORY_ITEM]
            users = head.users(newest, unit(head.encoder.candidates(history)))
            vectors = tf.reshape(head.items(tf.reshape(ids, [-1])), [*ids.shape, -1])
            scores = tf.linalg.matvec(vectors, users)
        return tf.where(items == b"", 0.0, scores).numpy().ravel()

    def _inputs(self, examples: list[bytes]) -> dict[str, tf.Tensor]:
        raw = tf.io.parse_example(examples, self.transform.raw_feature_spec())
        return self.transform.transform_raw_features(raw)


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
