import os

import pytest

from pipeline.release import pusher


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.data").write_bytes(b"weights")
    return folder


def test_a_push_copies_the_whole_model_into_a_new_version(tmp_path, model):
    version = pusher.push(str(model), str(tmp_path / "served"))
    assert os.listdir(tmp_path / "served") == [version]
    assert (tmp_path / "served" / version / "variables" / "variables.data").read_bytes() == (
        b"weights"
    )


def test_the_same_model_is_not_pushed_twice(tmp_path, model):
    served = tmp_path / "served"
    first = pusher.push(str(model), str(served))
    assert pusher.push(str(model), str(served)) == first
    assert os.listdir(served) == [first]


def test_one_changed_byte_is_another_model_and_a_larger_version(tmp_path, model):
    served = tmp_path / "served"
    first = pusher.push(str(model), str(served))
    (model / "variables" / "variables.data").write_bytes(b"weightz")
    second = pusher.push(str(model), str(served))
    assert int(second) > int(first)
    assert (served / first / "variables" / "variables.data").read_bytes() == b"weights"


def test_an_old_version_that_comes_back_is_pushed_again(tmp_path, model):
    served = tmp_path / "served"
    pusher.push(str(model), str(served))
    (model / "saved_model.pb").write_bytes(b"other")
    pusher.push(str(model), str(served))
    (model / "saved_model.pb").write_bytes(b"graph")
    third = pusher.push(str(model), str(served))
    assert len(pusher.versions(str(served))) == 3
    assert max(pusher.versions(str(served))) == int(third)


def test_a_copy_that_dies_half_way_is_never_a_version(tmp_path, model, monkeypatch):
    served = tmp_path / "served"

    def die_half_way(source, target):
        os.makedirs(target)
        (tmp_path / "served" / os.path.basename(target) / "saved_model.pb").write_bytes(b"gra")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pusher.io_utils, "copy_dir", die_half_way)
        with pytest.raises(KeyboardInterrupt):
            pusher.push(str(model), str(served))
    assert pusher.versions(str(served)) == []
    version = pusher.push(str(model), str(served))
    assert os.listdir(served) == [version]


def test_what_is_no_version_is_not_counted(tmp_path):
    for name in ("12", "notes", ".pushing-13"):
        (tmp_path / name).mkdir()
    assert pusher.versions(str(tmp_path)) == [12]
    assert pusher.versions(str(tmp_path / "missing")) == []
