"""Whether a load balancer may send requests: GET /healthz."""

import tensorflow as tf

from tests.support.serving_requests import Running


class Constant(tf.Module):
    """A model that loads in no time."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def answer(self, x):
        return {"y": x + 1.0}


def test_it_is_ready_from_the_first_version_to_the_stop(tmp_path):
    server = Running(tmp_path)
    try:
        refused = (503, {"status": "NOT_SERVING"})
        assert server.http("/healthz") == refused
        module = Constant()
        tf.saved_model.save(
            module, str(tmp_path / "constant" / "1"), {"serving_default": module.answer}
        )
        server.service.registry.poll()
        assert server.http("/healthz") == (200, {"status": "SERVING"})
        status, answer = server.http("/v1/models/constant:predict", {"instances": [1.0, 2.0]})
        assert (status, answer) == (200, {"predictions": [2.0, 3.0]})
        server.service.stop_accepting()
        assert server.http("/healthz") == refused
    finally:
        server.stop()
