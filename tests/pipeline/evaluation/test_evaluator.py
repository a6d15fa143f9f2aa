"""Resolver, Evaluator and TFX's Pusher in the local runner, on hand-made Examples."""

import dataclasses
import itertools
import json
import shutil

import numpy as np
import pytest
from ml_metadata import metadata_store
from tfx import v1 as tfx
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from pipeline import examples as examples_artifact
from pipeline.configs import Gate
from pipeline.errors import InputError
from pipeline.evaluation.baseline import ServedModel
from pipeline.evaluation.evaluator import GatedEvaluator
from tests.support import scored_examples
from transforms import features

# The models here rank, but their scores are no probabilities.
SETTINGS = Gate(
    min_auc=0.6, min_gauc=0.6, tolerance=0.01, min_long_users=10, require_calibrated=False
)
# Thousandths by which positives of a model score higher, overall and for long histories, in
# the int64 feature that the model reads.
MODELS = {
    "good": (features.TARGET_TIME, 300, 300),
    "better": (scored_examples.OTHER_SCORE, 600, 600),
    "worse_on_long": ("third_score", 900, 200),
    "poor": ("noise", 0, 0),
}


def examples(rng):
    """40 users, a quarter of them with long histories, each 8 rows of both labels."""
    for u in range(40):
        long = u % 4 == 0
        for k in range(8):
            label = k % 2
            scores = {
                feature: [int(rng.integers(0, 1000)) + label * (on_long if long else lift)]
                for feature, lift, on_long in MODELS.values()
            }
            bucket = features.HISTORY_BUCKETS[-1 if long else u % 2].encode()
            target = features.TARGET_BUCKETS[k % 3].encode()
            yield scored_examples.example(
                b"u%d" % u,
                label,
                **scores,
                **{features.HISTORY_BUCKET: bucket, features.TARGET_BUCKET: target},
            )


class Project:
    """One metadata store and one set of Examples, run with one model after another."""

    def __init__(self, folder):
        self.folder = folder
        rng = np.random.default_rng(0)
        for split in ("train", "test"):
            scored_examples.write(folder / "examples" / split / "data.gz", list(examples(rng)))
        for name, (feature, *_) in MODELS.items():
            scored_examples.save_model(folder / name / "Format-Serving", feature)
        self.connection = sqlite_metadata_connection_config(str(folder / "metadata.db"))

    def run(self, name, settings=SETTINGS, served=""):
        """Runs the pipeline with a trained model. Returns what the Evaluator wrote."""
        splits = [tfx.proto.Input.Split(name=s, pattern=f"{s}/*") for s in ("train", "test")]
        example_gen = tfx.components.ImportExampleGen(
            input_base=str(self.folder / "examples"), input_config=tfx.proto.Input(splits=splits)
        )
        trainer = tfx.dsl.Importer(
            source_uri=str(self.folder / name), artifact_type=tfx.types.standard_artifacts.Model
        ).with_id("Trainer")
        baseline = tfx.dsl.Resolver(
            strategy_class=ServedModel,
            config={
                "serving_dir": str(self.folder / "serving"),
                "copies": str(self.folder / "copies"),
                "served": served,
            },
            candidate=trainer.outputs["result"],
            model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        ).with_id("Baseline")
        evaluator = GatedEvaluator(
            examples=example_gen.outputs["examples"],
            model=trainer.outputs["result"],
            baseline_model=baseline.outputs["model"],
            settings=settings,
        ).with_id("Evaluator")
        pusher = tfx.components.Pusher(
            model=trainer.outputs["result"],
            model_blessing=evaluator.outputs["blessing"],
            push_destination=tfx.proto.PushDestination(
                filesystem=tfx.proto.PushDestination.Filesystem(
                    base_directory=str(self.folder / "serving")
                )
            ),
        )
        tfx.orchestration.LocalDagRunner().run(
            tfx.dsl.Pipeline(
                pipeline_name="gate",
                pipeline_root=str(self.folder / "root"),
                components=[example_gen, trainer, baseline, evaluator, pusher],
                enable_cache=True,
                metadata_connection_config=self.connection,
                beam_pipeline_args=["--runner=DirectRunner", "--direct_running_mode=in_memory"],
            )
        )
        return Outcome(metadata_store.MetadataStore(self.connection))

    def pushed(self):
        """Which models were pushed, in the order they were."""
        versions = sorted((self.folder / "serving").glob("*"), key=lambda path: int(path.name))
        graphs = {
            (self.folder / name / "Format-Serving" / "saved_model.pb").read_bytes(): name
            for name in MODELS
        }
        return [graphs[(version / "saved_model.pb").read_bytes()] for version in versions]


class Outcome:
    """The last execution of the Evaluator and what it left."""

    def __init__(self, store):
        execution = max(
            store.get_executions_by_type("pipeline.evaluation.evaluator.GatedEvaluator"),
            key=lambda e: e.id,
        )
        self.cached = execution.last_known_state == execution.CACHED
        events = store.get_events_by_execution_ids([execution.id])
        artifacts = {
            event.path.steps[0].key: store.get_artifacts_by_id([event.artifact_id])[0]
            for event in events
        }
        self.properties = artifacts["blessing"].custom_properties
        self.folder = artifacts["evaluation"].uri
        baseline = artifacts.get("baseline_model")
        self.baseline = baseline.uri.rsplit("/", 1)[-1] if baseline else None
        assert baseline is None or (self.properties["baseline_model_id"].int_value == baseline.id)
        assert self.properties["current_model_id"].int_value == artifacts["model"].id
        self.blessed = bool(self.properties["blessed"].int_value)

    def read(self, name):
        with open(f"{self.folder}/{name}.json", encoding="utf-8") as file:
            return json.load(file)

    def failed(self):
        checks = self.read("verdict")["checks"]
        return {(c["name"], c["slice"]) for c in checks if c["outcome"] == "failed"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("gate"))


def test_runs_one_after_another_are_judged_by_what_was_blessed_before(project):
    first = project.run("good")
    assert first.blessed
    assert first.baseline is None
    overall = first.read("metrics")["overall"]
    assert (overall["rows"], overall["users"]) == (320, 40)
    assert overall["auc"] > 0.6
    assert (overall["largest_user_share"], overall["share_of_users"]) == (1 / 40, 1)
    assert "baseline" not in overall
    assert first.read("verdict")["blessed"]
    controls = first.read("controls")
    assert controls["controls"]["own_training_windows"] == {"auc": 0.5, "gauc": 0.5}
    assert controls["controls"]["model"]["auc"] == pytest.approx(overall["auc"], abs=1e-6)
    curves = first.read("curves")
    assert set(curves) == {"candidate"}
    assert sum(curves["candidate"]["rows_by_score"]) == 320
    assert sum(curves["candidate"]["positives_by_score"]) == 160
    assert np.mean(curves["candidate"]["roc"]) == pytest.approx(overall["auc"], abs=0.02)
    assert not {"roc", "rows_by_score"} & set(overall)
    diagnostics = first.read("diagnostics")
    assert (diagnostics["rows"], diagnostics["attention"]) == (320, None)
    assert len(diagnostics["users"]["wrong"]) == 10
    assert project.pushed() == ["good"]

    assert project.run("good").cached

    second = project.run("better")
    assert (second.blessed, second.baseline) == (True, "good")
    metrics = second.read("metrics")
    assert metrics["overall"]["baseline"] == overall
    assert second.read("curves")["baseline"] == curves["candidate"]
    assert set(metrics) == {
        "overall",
        *(f"history_bucket={bucket}" for bucket in features.HISTORY_BUCKETS),
        *(f"target_bucket={bucket}" for bucket in features.TARGET_BUCKETS[:3]),
    }
    again = project.run("better")
    assert (again.cached, again.baseline) == (True, "good")

    poor = project.run("poor")
    assert (poor.blessed, poor.baseline) == (False, "better")
    assert ("min_auc", "overall") in poor.failed()
    assert poor.read("verdict")["reason"].startswith("Refused: AUC overall")

    long = project.run("worse_on_long")
    assert (long.blessed, long.baseline) == (False, "better")
    assert {slice_name for _, slice_name in long.failed()} == {"history_bucket=long"}

    reverted = project.run("good")
    assert (reverted.blessed, reverted.baseline) == (False, "better")
    assert ("auc_not_worse", "overall") in reverted.failed()
    assert project.run("good").cached
    assert project.pushed() == ["good", "better"]

    # A setting of the gate is judged anew.
    lenient = Gate(min_auc=0.55, min_gauc=0.55, require_calibrated=False)
    again = project.run("worse_on_long", lenient)
    assert (again.blessed, again.baseline, again.cached) == (True, "better", False)
    assert project.pushed() == ["good", "better", "worse_on_long"]


def test_a_served_model_that_is_gone_from_training_is_compared_all_the_same(tmp_path):
    project = Project(tmp_path)
    assert project.run("better").blessed
    (version,) = (tmp_path / "serving").iterdir()
    shutil.rmtree(tmp_path / "better")
    worse = project.run("good")
    assert (worse.blessed, worse.baseline) == (False, version.name)
    assert ("auc_not_worse", "overall") in worse.failed()


def test_a_served_model_that_cannot_score_the_rows_is_replaced_only_by_a_setting(tmp_path):
    project = Project(tmp_path)
    assert project.run("better").blessed
    (version,) = (tmp_path / "serving").iterdir()
    for folder in (tmp_path / "better" / "Format-Serving", version):
        shutil.rmtree(folder)
        scored_examples.save_model(folder, "feature_of_another_dataset")
    refused = project.run("good")
    assert (refused.blessed, refused.failed()) == (False, {("compared", "overall")})
    assert "cannot score these test rows" in refused.read("verdict")["reason"]
    waived = project.run("good", dataclasses.replace(SETTINGS, allow_uncompared=True))
    assert waived.blessed


def test_a_lost_file_of_examples_is_named(tmp_path):
    artifact = tfx.types.standard_artifacts.Examples()
    artifact.uri = str(tmp_path)
    artifact.split_names = '["train", "test"]'
    for split, number in itertools.product(("train", "test"), range(3)):
        scored_examples.write(tmp_path / f"Split-{split}" / f"data-{number}.gz", [])
    for split in ("train", "test"):
        examples_artifact.set_sizes(artifact, split)
    examples_artifact.require_all_shards([artifact])
    (tmp_path / "Split-test" / "data-1.gz").unlink()
    with pytest.raises(InputError, match=r"`test` of Examples must have 3 files .* Received: 2"):
        examples_artifact.require_all_shards([artifact])
    (tmp_path / "Split-test" / "data-1.gz").touch()  # there, and emptied
    with pytest.raises(InputError, match=r"Received: 3 files of"):
        examples_artifact.require_all_shards([artifact])
