"""Written files against TensorFlow's own reader and writer."""

import tensorflow as tf

from pipeline.ingest import tfrecord_writer

RECORDS = [b"", b"a", b"\x00" * 300, bytes(range(256)) * 50, b"a"]


def test_frames_are_the_bytes_that_tensorflow_writes(tmp_path):
    path = str(tmp_path / "plain")
    with tf.io.TFRecordWriter(path) as writer:
        for record in RECORDS:
            writer.write(record)
    assert tfrecord_writer.frame(RECORDS) == (tmp_path / "plain").read_bytes()


def test_tensorflow_reads_what_was_written_in_several_lists(tmp_path):
    path = str(tmp_path / "data.gz")
    with tfrecord_writer.Writer(path) as writer:
        writer.write(RECORDS[:2])
        writer.write([])
        writer.write(RECORDS[2:] * 400)
    read = tf.data.TFRecordDataset(path, compression_type="GZIP").as_numpy_iterator()
    assert list(read) == RECORDS[:2] + RECORDS[2:] * 400
