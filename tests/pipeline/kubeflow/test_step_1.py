import pytest
from tfx.types import standard_artifacts

step = pytest.importorskip("pipeline.kubeflow.step_1", exc_type=ImportError)


def test_what_a_killed_pod_left_is_removed(tmp_path):
    first, second = standard_artifacts.Model(), standard_artifacts.Model()
    first.uri, second.uri = str(tmp_path / "first"), str(tmp_path / "second")
    left = tmp_path / "first" / "beam-temp" / "half"
    left.parent.mkdir(parents=True)
    left.touch()
    step.make_empty_folders({"model": [first, second]})
    assert list((tmp_path / "first").iterdir()) == list((tmp_path / "second").iterdir()) == []


def test_what_tfx_did_not_make_stays(tmp_path):
    model = standard_artifacts.Model()
    model.uri, model.is_external = str(tmp_path), True
    (tmp_path / "kept").touch()
    step.make_empty_folders({"model": [model]})
    assert (tmp_path / "kept").exists()


def test_tfx_calls_it(monkeypatch):
    from tfx.orchestration.portable import launcher, outputs_utils

    assert launcher.outputs_utils is outputs_utils
    monkeypatch.setattr(outputs_utils, "make_output_dirs", outputs_utils.make_output_dirs)
    given = []
    monkeypatch.setattr(step.container_entrypoint, "main", given.append)
    step.main(["--node_id", "Trainer"])
    assert given == [["--node_id", "Trainer"]]
    assert outputs_utils.make_output_dirs is step.make_empty_folders
