"""LazyAdam against Adam in NumPy, row by row."""

import numpy as np
import pytest
import tensorflow as tf

from model.training.optimizer import LazyAdam


def adam(value, gradients, rate, rows_of=None):
    """Adam (Kingma & Ba, algorithm 1), in the form with epsilon beside sqrt(v)."""
    value = value.astype(np.float64).copy()
    m, v = np.zeros_like(value), np.zeros_like(value)
    for step, gradient in enumerate(gradients, start=1):
        rows = slice(None) if rows_of is None else rows_of[step - 1]
        m[rows] = 0.9 * m[rows] + 0.1 * gradient[rows]
        v[rows] = 0.999 * v[rows] + 0.001 * gradient[rows] ** 2
        corrected = np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        value[rows] -= rate * corrected * m[rows] / (np.sqrt(v[rows]) + 1e-7)
    return value


def test_dense_and_sparse_variables_follow_adam_each_with_its_rate():
    rng = np.random.default_rng(0)
    dense, table = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 2), (6, 2)))
    weights = [tf.Variable(dense), tf.Variable(table)]
    optimizer = LazyAdam(learning_rate=1e-2, table_learning_rate=0.3)
    rows_of = [[4, 1], [1], [0, 4], [4]]
    dense_gradients = [rng.normal(size=(3, 2)) for _ in rows_of]
    table_gradients = []
    for rows, gradient in zip(rows_of, dense_gradients, strict=True):
        # A repeated row counts with the sum of its gradients.
        indices = [*rows, rows[0]]
        values = rng.normal(size=(len(indices), 2))
        whole = np.zeros((6, 2))
        np.add.at(whole, indices, values)
        table_gradients.append(whole)
        sparse = tf.IndexedSlices(
            tf.constant(values, tf.float32), tf.constant(indices), tf.constant([6, 2])
        )
        optimizer.apply_gradients(
            zip([tf.constant(gradient, tf.float32), sparse], weights, strict=True)
        )
    expected = adam(dense, dense_gradients, 1e-2)
    np.testing.assert_allclose(weights[0], expected, rtol=1e-4, atol=1e-6)
    expected = adam(table, table_gradients, 0.3, rows_of)
    np.testing.assert_allclose(weights[1], expected, rtol=1e-4, atol=1e-6)
    for untouched in (2, 3, 5):
        np.testing.assert_array_equal(weights[1][untouched], table[untouched])


@pytest.mark.parametrize("rows", [20_000])
def test_no_operation_of_a_step_is_as_large_as_the_table(rows):
    """Reads the graph of a step: no tensor in it has as many elements as the table has rows."""
    table = tf.Variable(tf.zeros([rows, 4]))
    optimizer = LazyAdam()
    optimizer.build([table])

    @tf.function
    def step(indices):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(table, indices) ** 2)
        gradient = tape.gradient(loss, table)
        assert isinstance(gradient, tf.IndexedSlices)
        optimizer.apply_gradients([(gradient, table)])

    graph = step.get_concrete_function(tf.TensorSpec([8], tf.int64)).graph
    for operation in graph.get_operations():
        assert operation.type != "ReadVariableOp" or operation.outputs[0].shape.num_elements() == 1
        for output in operation.outputs:
            if output.dtype == tf.float32 and output.shape.rank is not None:
                assert output.shape.num_elements() is None or output.shape.num_elements() < rows


def test_its_config_builds_the_same_optimizer():
    optimizer = LazyAdam(0.5, 0.25, beta_1=0.8)
    again = LazyAdam.from_config(optimizer.get_config())
    assert (float(again.learning_rate), again.table_learning_rate, again.beta_1) == (0.5, 0.25, 0.8)


def test_xla_is_off_also_where_keras_sees_a_gpu(monkeypatch):
    """Keras turns XLA on for an optimizer if TensorFlow lists a GPU; its Adam shows that."""
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.compat.v2.config, "list_physical_devices", lambda kind=None: [gpu])
    assert tf.keras.optimizers.Adam().jit_compile
    assert not LazyAdam().jit_compile
    assert not LazyAdam.from_config(LazyAdam().get_config()).jit_compile
    assert LazyAdam(jit_compile=True).jit_compile
