"""The training that TFX's Trainer runs: from transformed samples to a SavedModel."""

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tensorflow_transform as tft
from absl import logging

from model import presets
from model.configs import TrainingConfig
from model.export.signatures import ServingModule
from model.ranker import DataSpec, Ranker, build_ranker
from model.training import data
from model.training.loop import Training
from transforms import features

if TYPE_CHECKING:  # TFX takes 20 seconds to import, and a training needs none of it
    from tfx import v1 as tfx

# In the folder of a training run.
DESCRIPTION = "training.json"
_WEIGHTS = "weights"
_STRATEGIES = {
    "none": tf.distribute.get_strategy,
    "mirrored": tf.distribute.MirroredStrategy,
    "multi_worker": tf.distribute.MultiWorkerMirroredStrategy,
}


def run_fn(fn_args: "tfx.components.FnArgs") -> None:
    """TFX Trainer will call this function.

    Trains on `fn_args.train_files`, stops by `fn_args.eval_files`, and leaves
    - in `serving_model_dir` a SavedModel (model/export/signatures.py),
    - in `model_run_dir` the best weights, their description and every
      evaluation as JSON, and TensorBoard's events.
    A training of the same samples, Transform graph, settings and code that was
    killed is gone on with.

    Args:
      fn_args: `custom_config` holds `model`, `model_options`, `recipe`,
        `max_history_length`, `use_time`, `use_position`, `oov_buckets`,
        `distribute`, `training_seed`, `checkpoint_root` and `code`.

    Raises:
      ValueError: for options that are not allowed, or samples that nothing can
        be learned from.
    """
    custom = fn_args.custom_config
    # Collective operations must be set up before anything else runs.
    strategy = _STRATEGIES[custom["distribute"]]()
    config, recipe = presets.resolve(custom["model"], custom["model_options"], custom["recipe"])
    transform = tft.TFTransformOutput(fn_args.transform_output)
    inputs = DataSpec(
        _num_items(transform, custom["oov_buckets"]),
        custom["max_history_length"],
        custom["use_time"],
        custom["use_position"],
    )
    train_files = data.files_of(fn_args.train_files, "train")
    eval_files = data.files_of(fn_args.eval_files, "eval")
    description = {
        "model": custom["model"],
        "config": config.to_dict(),
        "recipe": recipe.to_dict(),
        "inputs": inputs._asdict(),
        "oov_buckets": custom["oov_buckets"],
        "seed": custom["training_seed"],
        "distribute": custom["distribute"],
        "code": custom["code"],
        "train": data.digest(train_files),
        "eval": data.digest(eval_files),
        "transform": data.tree_digest(fn_args.transform_output),
    }
    key = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]
    folder = os.path.join(custom["checkpoint_root"], key)

    tf.keras.utils.set_random_seed(custom["training_seed"])
    with strategy.scope():
        ranker = build_ranker(config, inputs, recipe, custom["training_seed"])
    training = Training(
        ranker,
        recipe,
        train_files,
        eval_files,
        transform.transformed_feature_spec(),
        folder,
        os.path.join(fn_args.model_run_dir, "logs"),
        strategy,
    )
    if training.state.step:
        logging.info("Going on from step %d, checkpoint %s.", training.state.step, folder)
    state = training.run()
    if not training.chief:
        return
    best = state.evaluations[state.best]
    logging.info("Best of %d evaluations: %s", len(state.evaluations), best)
    for file in tf.io.gfile.glob(f"{training.best}.*"):
        kept = _WEIGHTS + file[len(training.best) :]
        tf.io.gfile.copy(file, os.path.join(fn_args.model_run_dir, kept), overwrite=True)
    description |= {"best": best, "evaluations": state.evaluations}
    with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, DESCRIPTION), "w") as file:
        json.dump(description, file, indent=1)

    # Exported from what was written down, free of strategy and optimizer.
    trained = load_trained(fn_args.model_run_dir, fn_args.transform_output)
    ServingModule(trained, transform).save(fn_args.serving_model_dir)
    tf.io.gfile.rmtree(folder)


def load_trained(model_run_dir: str, transform_graph_dir: str) -> Ranker:
    """The trained ranker, from its description and its best weights.

    Args:
      model_run_dir: what `run_fn` wrote its run into.
      transform_graph_dir: the Transform graph that it was trained with.

    Returns:
      a ranker to call on a dict of transformed features; it gives logits `(B, 1)`.

    Raises:
      ValueError: if the Transform graph has another vocabulary than the model.
    """
    with tf.io.gfile.GFile(os.path.join(model_run_dir, DESCRIPTION)) as file:
        description: dict[str, Any] = json.load(file)
    inputs = DataSpec(**description["inputs"])
    transform = tft.TFTransformOutput(transform_graph_dir)
    items = _num_items(transform, description["oov_buckets"])
    if items != inputs.num_items:
        raise ValueError(
            f"The Transform graph in {transform_graph_dir} must be the one the model was trained "
            f"with, of {inputs.num_items} item ids. Received: one of {items}."
        )
    config = presets.preset(description["model"]).config_class()(**description["config"])
    ranker = build_ranker(
        config, inputs, TrainingConfig(**description["recipe"]), description["seed"]
    )
    weights = os.path.join(model_run_dir, _WEIGHTS)
    ranker.weights_checkpoint().read(weights).assert_consumed()
    return ranker


def _num_items(transform: tft.TFTransformOutput, oov_buckets: int) -> int:
    vocabulary = transform.vocabulary_size_by_name(features.ITEM_VOCABULARY)
    # Where nothing is kept, Transform writes one token of its own.
    _, nothing = tft.analyzers.get_empy_vocabulary_dummy_value(tf.string)
    if vocabulary == 1 and transform.vocabulary_by_name(features.ITEM_VOCABULARY) == [nothing]:
        raise ValueError(
            f"The vocabulary `{features.ITEM_VOCABULARY}` is empty: no item of the training split "
            "was seen `min_item_count` times. Lower it, or give more ratings."
        )
    return 1 + oov_buckets + vocabulary
