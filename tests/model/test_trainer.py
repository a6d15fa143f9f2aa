"""`run_fn` as TFX calls it, on a small learnable world."""

import json
import types

from model import trainer


def arguments(world, root, **custom):
    return types.SimpleNamespace(
        train_files=[f"{world.train}/*"],
        eval_files=[f"{world.eval}/*"],
        transform_output=world.transform,
        serving_model_dir=str(root / "serving"),
        model_run_dir=str(root / "run"),
        custom_config={
            "model": "imn_2p",
            "model_options": "embedding_dim=8,head_units=8",
            "recipe": {"batch_size": 64, "epochs": 2},
            "max_history_length": 6,
            "use_time": True,
            "use_position": True,
            "oov_buckets": 2,
            "distribute": "none",
            "training_seed": 0,
            "checkpoint_root": str(root / "checkpoints"),
            "code": "",
            **custom,
        },
    )


def test_a_training_learns_and_leaves_all_it_must(world, tmp_path):
    trainer.run_fn(
        arguments(
            world,
            tmp_path,
            recipe={
                "batch_size": 64,
                "epochs": 30,
                "evaluations_per_epoch": 1,
                "learning_rate": 0.01,
            },
        )
    )
    description = json.loads((tmp_path / "run" / trainer.DESCRIPTION).read_text())
    assert description["best"]["eval_auc"] > 0.8
