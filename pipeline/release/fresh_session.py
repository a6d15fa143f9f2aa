"""Runs signatures of a SavedModel in a TF1 session, as the embedded server does.

    python -m pipeline.release.fresh_session MODEL_DIR REQUESTS ANSWERS

The process holds nothing but the export. REQUESTS is an `.npz` file with the arrays
`SIGNATURE/INPUT`; ANSWERS gets the arrays `SIGNATURE/OUTPUT`.
"""

import sys

import numpy as np
import tensorflow as tf


def main(argv: list[str]) -> int:
    """Writes the answers. An exception ends the process with status 1, its words on stderr."""
    model_dir, requests, answers = argv
    inputs: dict[str, dict[str, np.ndarray]] = {}
    with np.load(requests, allow_pickle=True) as arrays:
        for key, value in arrays.items():
            signature, name = key.split("/")
            inputs.setdefault(signature, {})[name] = value
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], model_dir)
        results = {}
        for signature, values in inputs.items():
            definition = meta_graph.signature_def[signature]
            feed = {definition.inputs[name].name: value for name, value in values.items()}
            outputs = {name: info.name for name, info in definition.outputs.items()}
            for name, value in session.run(outputs, feed).items():
                results[f"{signature}/{name}"] = value
    np.savez(answers, **results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
