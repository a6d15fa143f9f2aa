"""Times a step of DeepCTR's DIN (TensorFlow), with its loss and Keras' training step.

Widths equal this project's DIN: attention 80 and 40 with Dice, head 128 and 64. The
decay of the embeddings, DeepCTR's default, is off: it would make gradients dense.

The training benchmark runs `python -m benchmarks.peers.deepctr_din MEASUREMENT` with a
`steps.Measurement` as JSON.
"""

import json
import sys

import numpy as np
import tensorflow as tf
from deepctr.feature_column import SparseFeat, VarLenSparseFeat
from deepctr.models import DIN

from benchmarks.training import steps


def main() -> None:
    """Prints the measurement as JSON."""
    measurement = steps.Measurement(**json.loads(sys.argv[1]))
    tf.config.threading.set_intra_op_parallelism_threads(measurement.threads)
    tf.config.threading.set_inter_op_parallelism_threads(measurement.threads)
    history = SparseFeat(
        "hist_item", measurement.items, embedding_dim=steps.DIM, embedding_name="item"
    )
    columns = [
        SparseFeat("item", measurement.items, embedding_dim=steps.DIM),
        VarLenSparseFeat(history, maxlen=measurement.length, length_name="length"),
    ]
    model = DIN(
        columns,
        ["item"],
        dnn_hidden_units=(128, 64),
        att_hidden_size=(80, 40),
        att_activation="dice",
        l2_reg_embedding=0,
    )
    model.compile("adam", "binary_crossentropy")
    batches = [
        (
            {
                "item": tf.constant(batch["target_item"].astype(np.int32)),
                "hist_item": tf.constant(batch["history_item"].astype(np.int32)),
                "length": tf.constant(batch["history_length"].astype(np.int32)),
            },
            tf.constant(batch["label"].astype(np.float32)),
        )
        for batch in steps.batches(measurement.length, measurement.batch_size, measurement.items)
    ]
    step = tf.function(model.train_step)
    print(
        json.dumps(
            steps.timed(lambda data: step(data)["loss"].numpy(), batches, measurement.seconds)
        )
    )


if __name__ == "__main__":
    main()
