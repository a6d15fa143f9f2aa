"""Events of a killed training: kept up to the step from which it resumes, and no further."""

import pytest

from model.training.summaries.events import Events, continue_from
from tests.support import events


def written(folder, steps):
    file = Events(str(folder / "train"))
    for step in steps:
        file.scalars(step, {"loss": float(step)})
    file.close()


@pytest.mark.parametrize("same_folder", [True, False])
def test_later_events_are_left_out_and_the_next_ones_follow(tmp_path, same_folder):
    old = tmp_path / "old"
    new = old if same_folder else tmp_path / "new"
    written(old, [10, 20, 30])
    continue_from(str(old), str(new), 20)
    written(new, [30, 40])
    curve = sorted(events.scalars(new)["train"]["loss"])
    assert curve == [(step, float(step)) for step in (10, 20, 30, 40)]
    if not same_folder:
        assert not list(old.glob("train/events*"))


def test_a_record_that_was_cut_by_the_kill_ends_the_file(tmp_path):
    written(tmp_path, [10, 20, 30])
    (file,) = tmp_path.glob("train/events*")
    file.write_bytes(file.read_bytes()[:-7])
    continue_from(str(tmp_path), str(tmp_path), 100)
    assert [step for step, _ in events.scalars(tmp_path)["train"]["loss"]] == [10, 20]
