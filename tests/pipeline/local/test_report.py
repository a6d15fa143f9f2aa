"""What a run says that it did to the served model."""

import pytest

from pipeline.local import report


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
