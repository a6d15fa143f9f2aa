"""The resolver on a metadata store in memory: which model it picks after which history."""

import itertools

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.components.evaluator import constants
from tfx.orchestration import metadata
from tfx.types import standard_artifacts

from pipeline.evaluation.baseline import KEY_PROPERTY, LastBlessed

KEY = '{"model": "imn_3p_plus"}'


class History:
    """What Evaluators did, as TFX writes it down: blessings, and events that give them."""

    def __init__(self, folder):
        self.folder = folder
        self.store = mlmd.MetadataStore(
            metadata.sqlite_metadata_connection_config(str(folder / "metadata.db"))
        )
        self.evaluator = self.store.put_execution_type(
            metadata_store_pb2.ExecutionType(name="Evaluator")
        )
        self.models, self.blessings = {}, []
        self.clock = itertools.count(1_000)

    def _put(self, artifact):
        kind = metadata_store_pb2.ArtifactType(name=artifact.type_name)
        artifact.type_id = self.store.put_artifact_type(kind, can_add_fields=True)
        artifact.id = self.store.put_artifacts(
            [metadata_store_pb2.Artifact(type_id=artifact.type_id, uri=artifact.uri)]
        )[0]
        return artifact

    def trained(self, name):
        model = standard_artifacts.Model()
        folder = self.folder / name / "Format-Serving"
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"graph")
        model.uri = str(self.folder / name)
        self.models[name] = self._put(model)

    def judged(self, name, against=None, blessed=True, key=KEY):
        blessing = standard_artifacts.ModelBlessing()
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, int(blessed))
        blessing.set_int_custom_property(
            constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, self.models[name].id
        )
        if against:
            blessing.set_int_custom_property(
                constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, self.models[against].id
            )
        blessing.set_string_custom_property(KEY_PROPERTY, key)
        self.blessings.append(self._put(blessing))
        self.given(blessing)
        return blessing

    def given(self, blessing, kind=metadata_store_pb2.Event.OUTPUT):
        """An Evaluator ran, or was answered from the cache."""
        execution = metadata_store_pb2.Execution(type_id=self.evaluator)
        event = metadata_store_pb2.Event(
            artifact_id=blessing.id,
            execution_id=self.store.put_executions([execution])[0],
            type=kind,
            milliseconds_since_epoch=next(self.clock),
        )
        self.store.put_events([event])

    def baseline(self, candidate, key=KEY):
        """Names of the baseline that is resolved for a candidate; what comes in is shuffled."""
        given: dict[str, list[types.Artifact]] = {
            "candidate": [self.models[candidate]],
            "model": list(self.models.values()),
            "model_blessing": self.blessings[::-1],
        }
        result = LastBlessed(key).resolve_artifacts(self.store, given)
        assert result["candidate"] == given["candidate"]
        assert len(result["model"]) == len(result["model_blessing"])
        by_id = {model.id: name for name, model in self.models.items()}
        names = [by_id[model.id] for model in result["model"]]
        return names[0] if names else None


@pytest.fixture
def history(tmp_path):
    history = History(tmp_path)
    for name in "abc":
        history.trained(name)
    return history


def test_nothing_is_blessed_at_first(history):
    assert history.baseline("a") is None


def test_the_last_blessed_one(history):
    history.judged("a")
    assert history.baseline("b") == "a"
    history.judged("b", against="a")
    assert history.baseline("c") == "b"


def test_a_refused_one_is_none(history):
    history.judged("a")
    history.judged("b", against="a", blessed=False)
    assert history.baseline("c") == "a"


def test_another_kind_is_none(history):
    history.judged("a", key="another")
    assert history.baseline("b") is None
    assert history.baseline("b", key="another") == "a"


def test_an_identical_run_asks_the_same_question(history):
    history.judged("a")
    assert history.baseline("a") is None
    history.judged("b", against="a")
    assert history.baseline("b") == "a"


def test_a_reverted_setting_is_judged_by_what_was_blessed_since(history):
    history.judged("a")
    history.judged("b", against="a")
    assert history.baseline("a") == "b"
    history.judged("a", against="b")
    # Blessed last, though trained first.
    assert history.baseline("c") == "a"
    assert history.baseline("a") == "b"


def test_a_blessing_from_the_cache_is_the_last_one(history):
    history.judged("a")
    second = history.judged("b", against="a")
    history.judged("a", against="b")
    history.given(second)
    assert history.baseline("c") == "b"
    assert history.baseline("b") == "a"


def test_being_read_is_not_being_given(history):
    first = history.judged("a")
    history.judged("b", against="a")
    history.given(first, metadata_store_pb2.Event.INPUT)
    history.given(first, metadata_store_pb2.Event.INTERNAL_OUTPUT)
    assert history.baseline("c") == "b"


def test_files_that_are_gone_are_no_baseline(history):
    history.judged("a")
    history.judged("b", against="a")
    (history.folder / "b" / "Format-Serving" / "saved_model.pb").unlink()
    assert history.baseline("c") == "a"


def test_a_candidate_whose_old_baseline_is_gone_meets_the_one_before(history):
    history.judged("a")
    history.judged("b", against="a")
    history.judged("c", against="b")
    (history.folder / "b" / "Format-Serving" / "saved_model.pb").unlink()
    assert history.baseline("c") == "a"


def test_a_candidate_that_was_judged_alone_is_judged_alone_again(history):
    """Whatever was blessed before it, as when that could not be found."""
    history.judged("a")
    history.judged("b")
    assert history.baseline("b") is None
