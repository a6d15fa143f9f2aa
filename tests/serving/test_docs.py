"""The requests that README and docs/serving.md show, sent as they stand there."""

import json
import pathlib
import re

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("file", ["README.md", "docs/serving.md"])
def test_curl_lines(running, file):
    text = (ROOT / file).read_text()
    calls = re.findall(r"curl -s localhost:8501(\S+) -d '(.*?)'\n", text, re.DOTALL)
    assert calls
    for path, body in calls:
        status, answer = running.http(path, body.encode())
        assert status == 200, answer
        (scores,) = answer["predictions"]
        if json.loads(body)["signature_name"] == "recommend":
            assert len(set(scores["items"])) == json.loads(body)["instances"][0]["k"]
            scores = scores["probabilities"]
        else:
            assert len(scores) == 2
        assert all(0 < score < 1 for score in scores)


def test_the_client_in_python(running):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/serving.md").read_text(), re.DOTALL)
    found = {}
    exec(code.replace("localhost:8500", f"127.0.0.1:{running.grpc_port}"), found)
    assert found["scores"].shape == (1, 2)
    assert np.isfinite(found["scores"]).all()
