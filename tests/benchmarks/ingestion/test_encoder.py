"""Both encoders are timed on the same Examples."""

import tensorflow as tf

from benchmarks.ingestion import encoder


def test_both_encoders_give_the_same_examples():
    samples = encoder.Samples(mean=10, targets=700)  # more than one batch
    ours, theirs = samples.ours(), samples.tfx_bsl()
    assert len(ours) == len(theirs) == 1400
    for one, other in zip(ours, theirs, strict=True):
        assert tf.train.Example.FromString(one) == tf.train.Example.FromString(other)
    labels = [tf.train.Example.FromString(record).features.feature["label"] for record in ours[:2]]
    assert [label.int64_list.value[0] for label in labels] == [1, 0]
