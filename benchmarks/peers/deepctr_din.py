"""A step of DeepCTR's DIN (TensorFlow): its class, its loss, Keras' own step of training.

Widths are those of our DIN: attention 80 and 40 with Dice, head 128 and 64. The
decay of the embeddings, on by default there, is off: it would make their
gradients dense.

Run by benchmarks.training as `python -m benchmarks.peers.deepctr_din CELL`, CELL a
`steps.Measurement` in JSON.
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
    cell = steps.Measurement(**json.loads(sys.argv[1]))
    tf.config.threading.set_intra_op_parallelism_threads(cell.threads)
    tf.config.threading.set_inter_op_parallelism_threads(cell.threads)
    history = SparseFeat("hist_item", cell.items, embedding_dim=steps.DIM, embedding_name="item")
    columns = [
        SparseFeat("item", cell.items, embedding_dim=steps.DIM),
        VarLenSparseFeat(history, maxlen=cell.length, length_name="length"),
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
        for batch in steps.batches(cell.length, cell.batch_size, cell.items)
    ]
    step = tf.function(model.train_step)
    print(json.dumps(steps.timed(lambda data: step(data)["loss"].numpy(), batches, cell.seconds)))


if __name__ == "__main__":
    main()
