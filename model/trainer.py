"""`run_fn` of TFX's Trainer: from transformed samples to a SavedModel."""

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tensorflow_transform as tft
from absl import logging

from model import presets, replicas
from model.calibration import Calibration
from model.configs import TrainingConfig
from model.export.signatures import ServingModule
from model.ranker import Ranker, build_ranker
from model.scorer import DataSpec
from model.training import data, workers
from model.training.loop import Training
from model.training.summaries import projector
from model.training.summaries.board import BEST, Shown
from model.training.summaries.items import ItemNames
from transforms import features, item_attributes
from transforms.item_ids import ItemIds

if TYPE_CHECKING:  # a training needs nothing of TFX, whose import takes seconds
    from tfx import v1 as tfx

# File names in `model_run_dir`.
DESCRIPTION = "training.json"
LOGS = "logs"
_WEIGHTS = "weights"
_STRATEGIES = {
    "none": tf.distribute.get_strategy,
    "mirrored": tf.distribute.MirroredStrategy,
}


def run_fn(fn_args: "tfx.components.FnArgs") -> None:
    """TFX Trainer will call this function.

    Trains on `fn_args.train_files` with early stopping on `fn_args.eval_files`. Writes
    - to `serving_model_dir` a SavedModel (model/export/signatures.py),
    - to `model_run_dir` the best weights, a description with every evaluation as JSON, and
      TensorBoard's events.
    Resumes an interrupted training that had the same samples, Transform graph, settings and code.

    Args:
      fn_args: `custom_config` holds `model`, `model_options`, `recipe`,
        `max_history_length`, `use_time`, `use_position`, `use_ids`, `oov_buckets`, `event_fields`,
        `retrieval`, `distribute`, `workers`, `training_seed`, `profile_steps`, `checkpoint_root`
        and `code`.

    Raises:
      ValueError: for options that are not allowed, an empty split or vocabulary, an eval split
        of one class, a training that diverges, or a wrong `TF_CONFIG`.
      RuntimeError: if a worker of `distribute=multi_worker` fails.
    """
    distribute = fn_args.custom_config["distribute"]
    if distribute == "multi_worker":
        workers.run(fn_args)
    else:
        train(fn_args, _STRATEGIES[distribute]())


def train(fn_args: Any, strategy: tf.distribute.Strategy) -> None:
    """Trains in this process; of several workers, the chief writes.

    Args:
      fn_args: of `run_fn`.
      strategy: the strategy of tf.distribute, created before any operation of TensorFlow.

    Raises:
      ValueError: as `run_fn`, or if the workers do not see the same data, settings and checkpoint.
    """
    custom = fn_args.custom_config
    config, recipe = presets.resolve(custom["model"], custom["model_options"], custom["recipe"])
    transform = tft.TFTransformOutput(fn_args.transform_output)
    attributes = item_attributes.of_transform_graph(fn_args.transform_output, custom["oov_buckets"])
    inputs = DataSpec(
        _num_items(transform, custom["oov_buckets"]),
        custom["max_history_length"],
        custom["use_time"],
        custom["use_position"],
        custom["use_ids"],
        attributes.sizes if attributes else {},
        event_values(transform, custom.get("event_fields", "")),
    )
    train_files = data.files_of(fn_args.train_files, "train")
    eval_files = data.files_of(fn_args.eval_files, "eval")
    description = {
        "model": custom["model"],
        "config": config.to_dict(),
        "recipe": recipe.to_dict(),
        "inputs": inputs.to_dict(),
        "oov_buckets": custom["oov_buckets"],
        "retrieval": custom["retrieval"],
        "seed": custom["training_seed"],
        "distribute": custom["distribute"],
        "code": custom["code"],
        "train": data.digest(train_files),
        "eval": data.digest(eval_files),
        "transform": data.tree_digest(fn_args.transform_output),
    }
    key = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]
    folder = os.path.join(custom["checkpoint_root"], key)
    replicas.require_same(
        strategy, "samples, Transform graph, settings and code", int(key, 16) >> 1
    )

    tf.keras.utils.set_random_seed(custom["training_seed"])
    with strategy.scope():
        ranker = build_ranker(
            config, inputs, recipe, custom["training_seed"], attributes, custom["retrieval"]
        )
    logs = os.path.join(fn_args.model_run_dir, LOGS)
    names = ItemNames(fn_args.transform_output, custom["oov_buckets"])
    training = Training(
        ranker,
        recipe,
        train_files,
        eval_files,
        transform.transformed_feature_spec(),
        folder,
        logs,
        strategy,
        Shown(hparams(custom["model"], description), names, custom.get("profile_steps", 0)),
    )
    replicas.require_same(strategy, "checkpoint to resume from", training.state.step)
    if training.state.step:
        logging.info("Resuming from step %d, checkpoint %s.", training.state.step, folder)
    state = training.run()
    if not training.chief:
        return
    best = state.evaluations[state.best]
    logging.info("Best of %d evaluations: %s", len(state.evaluations), best)
    for file in tf.io.gfile.glob(f"{training.best}.*"):
        name = _WEIGHTS + file[len(training.best) :]
        tf.io.gfile.copy(file, os.path.join(fn_args.model_run_dir, name), overwrite=True)
    description |= {"best": best, "evaluations": state.evaluations}
    with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, DESCRIPTION), "w") as file:
        json.dump(description, file, indent=1)

    # The export is built from the files, so it holds neither strategy nor optimizer.
    trained = load_trained(fn_args.model_run_dir, fn_args.transform_output)
    ServingModule(trained, transform).save(fn_args.serving_model_dir)
    projector.write(os.path.join(logs, BEST), trained, training.frequency, names)
    tf.io.gfile.rmtree(folder)


def hparams(model: str, description: dict[str, Any]) -> dict[str, Any]:
    """The settings of a training for TensorBoard's tab HParams, by name.

    Args:
      model: a preset, or `package.module:Config`.
      description: has `config`, `recipe`, `seed`, and may have `inputs` and `train`.
    """
    inputs = description.get("inputs", {})
    names = ("max_history_length", "use_time", "use_position", "use_ids", "num_items")
    return {
        "model": model,
        **description["config"],
        **description["recipe"],
        **{name: inputs[name] for name in names if name in inputs},
        "item_attributes": ",".join(inputs.get("attributes", ())),
        "event_fields": ",".join(inputs.get("event_fields", ())),
        "seed": description["seed"],
        "train_samples": description.get("train", "")[:8],  # the same for the same samples
    }


def load_trained(model_run_dir: str, transform_graph_dir: str) -> Ranker:
    """Loads a trained ranker from its description and its best weights.

    Args:
      model_run_dir: the folder that `run_fn` wrote.
      transform_graph_dir: the Transform graph of the training.

    Returns:
      a ranker; called on a dict of transformed features, it returns logits `(B, 1)`.

    Raises:
      ValueError: if the vocabulary of the Transform graph has another size.
    """
    with tf.io.gfile.GFile(os.path.join(model_run_dir, DESCRIPTION)) as file:
        description: dict[str, Any] = json.load(file)
    inputs = DataSpec(**description["inputs"])
    transform = tft.TFTransformOutput(transform_graph_dir)
    items = _num_items(transform, description["oov_buckets"])
    if items != inputs.num_items:
        raise ValueError(
            f"The Transform graph in {transform_graph_dir} must be that of the training, with "
            f"{inputs.num_items} item ids. Received: {items} item ids."
        )
    attributes = item_attributes.of_transform_graph(transform_graph_dir, description["oov_buckets"])
    sizes = attributes.sizes if attributes else {}
    if sizes != inputs.attributes:
        raise ValueError(
            f"The item table in {transform_graph_dir} must have the fields of the training, "
            f"{inputs.attributes}. Received: {sizes}."
        )
    events = event_values(transform, ",".join(inputs.event_fields))
    if events != inputs.event_fields:
        raise ValueError(
            f"The Transform graph in {transform_graph_dir} must have the values of event fields of "
            f"the training, {inputs.event_fields}. Received: {events}."
        )
    config = presets.preset(description["model"]).config_class()(**description["config"])
    ranker = build_ranker(
        config,
        inputs,
        TrainingConfig(**description["recipe"]),
        description["seed"],
        attributes,
        description.get("retrieval", 0),  # runs from before there was a first stage
    )
    # Runs from before there was a calibration have none.
    ranker.calibration = Calibration(*description["best"].get("calibration", ()))
    weights = os.path.join(model_run_dir, _WEIGHTS)
    ranker.weights_checkpoint().read(weights).assert_consumed()
    return ranker


def event_values(transform: tft.TFTransformOutput, event_fields: str) -> dict[str, int]:
    """The number of value ids of each event field.

    Args:
      transform: the output of TensorFlow Transform.
      event_fields: the setting.
    """
    return {
        name: features.FIRST_EVENT_VALUE
        + transform.vocabulary_size_by_name(features.event_vocabulary(name))
        for name in features.event_fields(event_fields)
    }


def _num_items(transform: tft.TFTransformOutput, oov_buckets: int) -> int:
    vocabulary = transform.vocabulary_size_by_name(features.ITEM_VOCABULARY)
    # Transform writes one reserved token into an empty vocabulary.
    _, reserved = tft.analyzers.get_empy_vocabulary_dummy_value(tf.string)
    if vocabulary == 1 and transform.vocabulary_by_name(features.ITEM_VOCABULARY) == [reserved]:
        raise ValueError(
            f"The vocabulary `{features.ITEM_VOCABULARY}` is empty: no item of the training split "
            "occurs `min_item_count` times. Lower `min_item_count`, or give more ratings."
        )
    return ItemIds(oov_buckets, vocabulary).first_new
