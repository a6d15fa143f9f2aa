"""The resolver on a metadata store in memory: which model it picks after which history."""

import itertools
import pathlib

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.components.evaluator import constants
from tfx.orchestration import metadata
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from pipeline.evaluation import baseline
from pipeline.evaluation.baseline import ServedModel, is_saved_model

FILES = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")


def save(folder, content):
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


class History:
    """What Evaluators and Pushers did, as TFX writes it down."""

    def __init__(self, folder):
        self.folder = folder
        self.store = mlmd.MetadataStore(
            metadata.sqlite_metadata_connection_config(str(folder / "metadata.db"))
        )
        self.models = {}
        self.clock = itertools.count(1_000)

    def _put(self, artifact):
        kind = artifact.artifact_type
        artifact.type_id = self.store.put_artifact_type(kind, can_add_fields=True)
        (artifact.id,) = self.store.put_artifacts([artifact.mlmd_artifact])
        return artifact

    def _execution(self, component, inputs, outputs):
        kind = metadata_store_pb2.ExecutionType(name=component)
        execution = metadata_store_pb2.Execution(type_id=self.store.put_execution_type(kind))
        (execution_id,) = self.store.put_executions([execution])
        event = metadata_store_pb2.Event
        for artifacts, direction in ((inputs, event.INPUT), (outputs, event.OUTPUT)):
            for key, artifact in artifacts.items():
                entry = event(
                    artifact_id=artifact.id,
                    execution_id=execution_id,
                    type=direction,
                    milliseconds_since_epoch=next(self.clock),
                )
                entry.path.steps.add().key = key
                self.store.put_events([entry])

    def trained(self, name):
        model = standard_artifacts.Model()
        model.uri = str(self.folder / "models" / name)
        save(self.folder / "models" / name / "Format-Serving", name)
        self.models[name] = self._put(model)

    def blessed(self, name, against=None):
        blessing = standard_artifacts.ModelBlessing()
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, 1)
        blessing.set_int_custom_property(
            constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, self.models[name].id
        )
        if against:
            blessing.set_int_custom_property(
                constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, self.models[against].id
            )
        blessing = self._put(blessing)
        self._execution("Evaluator", {"model": self.models[name]}, {"blessing": blessing})
        return blessing

    def pushed(self, name, version, slot="imn"):
        push = standard_artifacts.PushedModel()
        push.set_int_custom_property("pushed", 1)
        push.set_string_custom_property("pushed_destination", f"/somewhere/{slot}/{version}")
        push.set_string_custom_property("pushed_version", str(version))
        push.uri = str(self.folder / "pushes" / str(version))
        self._execution("Pusher", {"model": self.models[name]}, {"pushed_model": self._put(push)})
        save(self.folder / "served" / slot / str(version), name)

    def baseline(self, candidate, served="", slot="imn"):
        """The resolved baseline: a model's name, or the content of a copy; None if none is."""
        inputs: dict[str, list[types.Artifact]] = {
            "candidate": [self.models[candidate]],
            "model": [],
        }
        strategy = ServedModel(
            serving_dir=str(self.folder / "served" / slot),
            copies=str(self.folder / "copies"),
            served=served,
        )
        result = strategy.resolve_artifacts(self.store, inputs)
        assert result["candidate"] == inputs["candidate"]
        if not result["model"]:
            return None
        (model,) = result["model"]
        assert model.id
        by_id = {model.id: name for name, model in self.models.items()}
        folder = path_utils.serving_model_path(model.uri)
        if model.id in by_id:
            return by_id[model.id]
        assert is_saved_model(folder)
        with open(f"{folder}/saved_model.pb", encoding="utf-8") as file:
            return f"copy of {file.read()}"


@pytest.fixture
def history(tmp_path):
    history = History(tmp_path)
    for name in "abc":
        history.trained(name)
    return history


def remove(history, name, file="saved_model.pb"):
    (history.folder / "models" / name / "Format-Serving" / file).unlink()


def test_nothing_is_served_at_first(history):
    assert history.baseline("a") is None
    assert history.baseline("a", served="0") is None


def test_a_blessed_model_that_was_not_pushed_is_not_the_baseline(history):
    history.blessed("a")
    assert history.baseline("b") is None


def test_the_served_model_whatever_its_kind(history):
    history.pushed("a", 5)
    assert history.baseline("b") == history.baseline("b", served="5") == "a"
    history.pushed("b", 7)
    assert history.baseline("c") == "b"
    # Version 7 was removed by hand: 5 is served again.
    assert history.baseline("c", served="5") == "a"
    assert history.baseline("c", served="0") is None


def test_a_model_of_another_name_is_another_model(history):
    history.pushed("a", 5, slot="din")
    assert history.baseline("b") is None
    assert history.baseline("b", slot="din") == "a"


def test_versions_are_numbers(history):
    history.pushed("a", 999)
    history.pushed("b", 1_000)
    assert history.baseline("c") == "b"


def test_an_identical_run_asks_the_same_question(history):
    history.blessed("a")
    history.pushed("a", 5)
    assert history.baseline("a") is None
    history.blessed("b", against="a")
    history.pushed("b", 7)
    assert history.baseline("b") == "a"
    # Even if the files of that baseline are gone: the answer comes from the cache.
    remove(history, "a")
    assert history.baseline("b") == "a"


def test_the_last_blessing_of_a_candidate_counts(history):
    history.blessed("a")
    history.pushed("a", 5)
    history.blessed("b", against="a")
    history.pushed("b", 7)
    history.blessed("a", against="b")
    history.pushed("a", 9)
    assert history.baseline("a") == "b"


@pytest.mark.parametrize("file", FILES)
def test_a_served_version_stands_for_its_model_if_that_is_gone(history, file):
    history.pushed("a", 5)
    remove(history, "a", file)
    assert history.baseline("b") == "copy of a"
    assert history.baseline("c") == "copy of a"  # the same copy, and the same artifact
    assert len(history.store.get_artifacts_by_type("Model")) == 4


def test_a_copy_that_was_interrupted_is_made_again(history, monkeypatch):
    history.pushed("a", 5)
    remove(history, "a", FILES[0])
    whole = baseline.io_utils.copy_dir

    def interrupted(source, target):
        whole(source, target)
        (pathlib.Path(target) / "saved_model.pb").write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(baseline.io_utils, "copy_dir", interrupted)
        with pytest.raises(KeyboardInterrupt):
            history.baseline("b")
    assert history.baseline("b") == "copy of a"


def test_a_served_version_that_the_store_does_not_know_is_the_baseline(history):
    save(history.folder / "served" / "imn" / "8", "unknown")
    assert history.baseline("a", served="8") == "copy of unknown"
