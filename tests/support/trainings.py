"""Trainings of a small IMN by `run_fn`, as TFX calls it."""

import json
import os
import types

from model.trainer import DESCRIPTION, load_trained, run_fn

RECIPE = {
    "batch_size": 64,
    "epochs": 2,
    "learning_rate": 0.01,
    # 94 steps are too few to leave the plateau of a small start for sure.
    "table_initial_scale": 0.1,
    "evaluations_per_epoch": 2,
    "history_dropout": 0.2,
}

# Every loss is a mean over rows without random numbers, and parts of a batch have other sizes.
SEPARABLE = {
    "recipe": RECIPE
    | {"batch_size": 101, "epochs": 3, "extra_candidates": 0, "history_dropout": 0.0},
    "model": "tests.support.exchanged_rows:Config",
    "model_options": "passes=1,enhancement=false,embedding_dim=8,head_units=8",
    "retrieval": 0,
    "oov_buckets": 2000,  # so many ids that the gradient of their table is sparse
}


def arguments(world, root, **custom):
    """What TFX's executor hands to `run_fn`, with the attributes it reads."""
    return types.SimpleNamespace(
        train_files=[os.path.join(world.train, "*")],
        eval_files=[os.path.join(world.eval, "*")],
        transform_output=world.transform,
        serving_model_dir=str(root / "serving"),
        model_run_dir=str(root / "run"),
        custom_config={
            "model": "imn_2p",
            "model_options": "passes=1,embedding_dim=8,head_units=8,dropout=0.1",
            "recipe": RECIPE,
            "max_history_length": 6,
            "use_time": True,
            "use_position": True,
            "use_ids": True,
            "oov_buckets": 2,
            "retrieval": 20,
            "distribute": "none",
            "workers": 0,
            "training_seed": 0,
            "checkpoint_root": str(root / "checkpoints"),
            "code": "",
            **custom,
        },
    )


def train(world, root, **custom):
    run_fn(arguments(world, root, **custom))
    return weights(world, root)


def weights(world, root):
    return load_trained(str(root / "run"), world.transform).get_weights()


def described(root):
    return json.loads((root / "run" / DESCRIPTION).read_text())
