"""A real small training, and what the check says of its export whole and broken."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from model import trainer
from model.export.signatures import ServingModule
from pipeline.release import infra_check


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    trainer.run_fn(
        FnArgs(
            train_files=[f"{world.train}/*"],
            eval_files=[f"{world.eval}/*"],
            transform_output=world.transform,
            serving_model_dir=str(root / "export"),
            model_run_dir=str(root / "run"),
            custom_config={
                "model": "imn_2p",
                "model_options": "embedding_dim=8,head_units=8",
                "recipe": {"batch_size": 64, "epochs": 1},
                "max_history_length": world.length,
                "use_time": True,
                "use_position": True,
                "use_ids": True,
                "oov_buckets": world.oov_buckets,
                "distribute": "none",
                "workers": 0,
                "training_seed": 0,
                "retrieval": 20,
                "checkpoint_root": str(root / "checkpoints"),
                "code": "",
            },
        )
    )
    return root


@pytest.fixture
def refusal(world, trained, tmp_path):
    """The reason against a copy of the export, after something was done to it."""
    export = tmp_path / "export"
    shutil.copytree(trained / "export", export)

    def check(break_it=lambda export: None):
        break_it(export)
        return infra_check.refusal(
            str(export), str(trained / "run"), world.transform, world.examples[:64]
        )

    return check


def test_the_export_answers_as_the_trained_model_does(refusal):
    assert refusal() == ""


def test_an_export_that_cannot_be_read_is_refused(refusal):
    reason = refusal(lambda export: (export / "saved_model.pb").write_bytes(b"\xff" * 50))
    assert "cannot be served" in reason
    assert "saved_model.pb" in reason


def test_an_export_without_its_graph_is_refused(refusal):
    reason = refusal(lambda export: (export / "saved_model.pb").unlink())
    assert "cannot be served" in reason


def test_an_export_that_lost_its_variables_is_refused(refusal):
    reason = refusal(lambda export: shutil.rmtree(export / "variables"))
    assert "cannot be served" in reason


def test_an_export_that_lost_its_vocabulary_is_refused(refusal):
    assert "cannot be served" in refusal(lambda export: shutil.rmtree(export / "assets"))


def test_an_export_that_answers_differently_is_refused(refusal, world, trained):
    def export_another(export):
        ranker = trainer.load_trained(str(trained / "run"), world.transform)
        weight = ranker.head.trainable_variables[0]
        weight.assign_add(1e-2 * tf.ones_like(weight))
        shutil.rmtree(export)
        ServingModule(ranker, tft.TFTransformOutput(world.transform)).save(str(export))

    assert "answers differently" in refusal(export_another)


def test_an_export_whose_rank_alone_differs_is_refused(refusal, world, trained, monkeypatch):
    """`serving_default` answers as trained; `rank` takes each request as of a day later."""
    whole = ServingModule.rank

    def later(self, history_item, history_time, history_length, request_time, candidates):
        late = request_time + 86_400
        return whole(self, history_item, history_time, history_length, late, candidates)

    def export_another(export):
        monkeypatch.setattr(ServingModule, "rank", later)
        ranker = trainer.load_trained(str(trained / "run"), world.transform)
        shutil.rmtree(export)
        ServingModule(ranker, tft.TFTransformOutput(world.transform)).save(str(export))

    assert "`rank` of the export answers differently" in refusal(export_another)


@pytest.mark.parametrize("part", ["names", "vectors"])
def test_an_export_whose_catalogue_is_shifted_is_refused(refusal, world, trained, part):
    """Each item has the name, or the vector, of the next one."""

    def export_another(export):
        ranker = trainer.load_trained(str(trained / "run"), world.transform)
        module = ServingModule(ranker, tft.TFTransformOutput(world.transform))
        variable = getattr(module._recommender.catalogue, part)
        variable.assign(tf.roll(variable, 1, axis=0))
        shutil.rmtree(export)
        module.save(str(export))

    assert "`retrieve` of the export answers differently" in refusal(export_another)


def test_the_process_of_its_own_scores_every_example(world, trained):
    """By both signatures, as close as two orders of summing float32 are."""
    spec = tft.TFTransformOutput(world.transform).raw_feature_spec()
    examples = world.examples[:64]
    asked = infra_check.requests(examples, spec)
    scores = infra_check.served_scores(str(trained / "export"), asked)
    expected = infra_check.Trained(str(trained / "run"), world.transform).scores(examples)
    assert len(np.unique(expected)) > 10
    for name in ("serving_default", "rank"):
        np.testing.assert_allclose(scores[name], expected, atol=1e-6)
