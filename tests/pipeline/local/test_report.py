"""What a run says that it did to the served model."""

import pathlib

import pytest

from pipeline.local import report

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("pushed", "served", "says", "not_said"),
    [
        ("out/serving_model/imn/17", "0", "Pushed:", "already"),
        ("out/serving_model/imn/17", "9", "Pushed:", "already"),
        # A run whose steps are reused, or that made the served model again, pushes nothing.
        ("out/serving_model/imn/17", "17", "Served already:", "Pushed"),
        (None, "17", "served before still is", "nothing is served"),
        (None, "0", "nothing is served", "still"),
    ],
)
def test_the_outcome_is_that_of_this_run(pushed, served, says, not_said):
    text = "\n".join(report.outcome(pushed, served))
    assert says in text
    assert not_said not in text
    assert pushed is None or pushed in text


def test_what_comes_next_after_a_push_and_after_a_refusal():
    pushed = "\n".join(report._next("imn", "out", "out/serving_model/imn/17"))
    for command in ("make serve OUTPUT=out", "make recommend ID=USER OUTPUT=out"):
        assert command in pushed
    compose = (ROOT / "serving" / "docker-compose.yml").read_text()
    assert f"tensorflow/serving:${{TF_SERVING_TAG:-{report._TF_SERVING}}}" in compose
    assert pushed.endswith(f"tensorflow/serving:{report._TF_SERVING}")
    refused = "\n".join(report._next("imn", "out", ""))
    assert "make board OUTPUT=out" in refused
    assert "serve" not in refused
    heading = refused.split("`")[1]
    assert heading.lower() in (ROOT / "docs" / "faq.md").read_text().lower()
