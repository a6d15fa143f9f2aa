"""The baseline of Kubeflow Pipelines 2: the component, and what the Evaluator makes of it."""

import pytest
from tfx import v1 as tfx
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from pipeline.evaluation import evaluator
from pipeline.kubeflow.served_copy import ServedModelCopy


def copied(folder):
    """Runs the component in a pipeline. Returns the folder of its model."""
    (folder / "trained").mkdir()
    trainer = tfx.dsl.Importer(
        source_uri=str(folder / "trained"), artifact_type=tfx.types.standard_artifacts.Model
    ).with_id("Trainer")
    baseline = ServedModelCopy(
        candidate=trainer.outputs["result"], serving_dir=str(folder / "serving")
    ).with_id("Baseline")
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="copy",
            pipeline_root=str(folder / "root"),
            components=[trainer, baseline],
            metadata_connection_config=sqlite_metadata_connection_config(str(folder / "m.db")),
        )
    )
    (model,) = (folder / "root" / "Baseline" / "model").iterdir()
    return model


def baselines(model):
    """The baselines that the Evaluator compares with."""
    artifact = tfx.types.standard_artifacts.Model()
    artifact.uri = str(model)
    return evaluator._without_empty_baseline({"baseline_model": [artifact]})["baseline_model"]


@pytest.mark.parametrize("others", [(), ("temporary", ".pushing-99")])
def test_the_newest_version_is_copied(tmp_path, others):
    for version in ("9", "10", *others):
        (tmp_path / "serving" / version / "variables").mkdir(parents=True)
        (tmp_path / "serving" / version / "saved_model.pb").write_text(version)
    model = copied(tmp_path)
    assert (model / "Format-Serving" / "saved_model.pb").read_text() == "10"
    assert len(baselines(model)) == 1


@pytest.mark.parametrize("folder_exists", [False, True])
def test_without_a_version_there_is_no_baseline(tmp_path, folder_exists):
    if folder_exists:
        (tmp_path / "serving" / ".pushing-99").mkdir(parents=True)
    model = copied(tmp_path)
    assert not (model / "Format-Serving").exists()
    assert baselines(model) == []
