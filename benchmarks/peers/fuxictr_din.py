"""Times `train_step` of FuxiCTR's DIN (PyTorch), from its LongCTR collection.

Widths equal this project's DIN: attention 80 and 40 with Dice, head 128 and 64. Adam and
clipping are FuxiCTR's. It reads neither positions nor times.

The training benchmark runs `python -m benchmarks.peers.fuxictr_din MEASUREMENT` with a
`steps.Measurement` as JSON.
"""

import json
import sys

import torch
from fuxictr.features import FeatureMap
from model_zoo.LongCTR.DIN import DIN

from benchmarks.training import steps


def main() -> None:
    """Prints the measurement as JSON."""
    measurement = steps.Measurement(**json.loads(sys.argv[1]))
    torch.set_num_threads(measurement.threads)
    torch.manual_seed(0)
    feature_map = FeatureMap("synthetic", ".")
    feature_map.labels = ["label"]
    feature_map.default_emb_dim = steps.DIM
    feature_map.features["item"] = {
        "source": "item",
        "type": "categorical",
        "vocab_size": measurement.items,
        "padding_idx": 0,
    }
    model = DIN(
        feature_map,
        dnn_hidden_units=[128, 64],
        attention_hidden_units=[80, 40],
        attention_hidden_activations="Dice",
        embedding_dim=steps.DIM,
        learning_rate=1e-3,
        optimizer="adam",
        loss="binary_crossentropy",
        task="binary_classification",
        metrics=["AUC"],
        model_root=".",
        verbose=0,
    )
    # `fit` sets these before its first batch.
    model._max_gradient_norm, model._batch_index = 10.0, 0
    model.train()
    batches = []
    for batch in steps.batches(measurement.length, measurement.batch_size, measurement.items):
        history, target = (
            torch.from_numpy(batch[name]) for name in ("history_item", "target_item")
        )
        ids = torch.cat([history, target], dim=1).flatten()
        batches.append(
            ({"label": torch.from_numpy(batch["label"])[:, 0]}, ids, (history > 0).float())
        )

    def step(batch: tuple) -> float:
        labels, ids, mask = batch
        return model.train_step((labels, {"item": ids}, mask)).item()

    print(json.dumps(steps.timed(step, batches, measurement.seconds)))


if __name__ == "__main__":
    main()
