"""The package for Kubeflow Pipelines 1, by Argo's schema and by what each of its pods gets."""

import copy
import re
import tarfile

import pytest
import yaml

import kubeflow_runner
from pipeline.configs import Settings, SettingsError
from tests.cluster.kubeflow import package
from tests.support.commands import PROJECT

pytest.importorskip(
    "tfx.orchestration.kubeflow.kubeflow_dag_runner",
    reason="this TFX compiles for Kubeflow Pipelines 2",
    exc_type=ImportError,
)
models = pytest.importorskip("hera.workflows.models")

SETTINGS = Settings(
    metadata="mysql://me@db.example:3307/imn",
    metadata_secret="store",
    items="/mnt/imn/items.jsonl",
    service_account="trainer",
    node_selector="pool=training,disk=ssd",
    pod_labels="team=search",
    step_cpu=4,
    step_memory=16,
    retries=3,
    time_limit=7200,
)
# Written down by hand from the picture of the pipeline in pipeline/pipeline.py.
AFTER = {
    "statisticsgen": {"ratingsexamplegen"},
    "examplevalidator": {"statisticsgen", "historyschema"},
    "anomalystop": {"examplevalidator"},
    "itemtable": {"anomalystop"},
    "transform": {"anomalystop", "itemtable"},
    "trainer": {"transform"},
    "baseline": {"trainer"},
    "infracheck": {"trainer"},
    "evaluator": {"trainer", "baseline"},
    "pusher": {"evaluator", "infracheck"},
}


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("package"))
        kubeflow_runner.write(SETTINGS)
        return package.read("imn.tar.gz")


def lost(manifest, kept):
    """The paths of a manifest that a model of its schema did not keep: unknown, or changed."""
    if isinstance(manifest, dict) and isinstance(kept, dict):
        return [f"{k}.{p}".strip(".") for k, v in manifest.items() for p in lost(v, kept.get(k))]
    if isinstance(manifest, list) and isinstance(kept, list) and len(manifest) == len(kept):
        pairs = zip(manifest, kept, strict=True)
        return [f"{n}.{p}".strip(".") for n, pair in enumerate(pairs) for p in lost(*pair)]
    return [] if manifest == kept else [""]


def unknown(manifest, kind="Workflow"):
    """Paths that Argo's schema does not have.

    Raises:
      ValueError: for a value of another type than the schema's.
    """
    model = getattr(models, kind).parse_obj(copy.deepcopy(manifest))
    return lost(manifest, model.dict(by_alias=True, exclude_none=True))


def test_argos_schema_knows_every_field(workflow):
    assert unknown(workflow.manifest) == []


def test_a_wrong_field_is_seen(workflow):
    manifest = copy.deepcopy(workflow.manifest)
    manifest["spec"]["activeDeadline"] = 1
    manifest["spec"]["templates"][1]["retryStrategy"]["limits"] = 1
    wrong = {"spec.activeDeadline", "spec.templates.1.retryStrategy.limits"}
    assert set(unknown(manifest)) == wrong
    manifest["spec"]["activeDeadlineSeconds"] = "soon"
    with pytest.raises(ValueError, match="activeDeadlineSeconds"):
        unknown(manifest)


def test_steps_follow_those_that_they_read(workflow):
    order = [step.name for step in workflow.steps]
    assert len(order) == len(AFTER) + 2
    for name, earlier in AFTER.items():
        assert all(order.index(each) < order.index(name) for each in earlier)


def test_the_recurring_run_of_the_documents_is_one_of_argo(workflow, monkeypatch, tmp_path):
    page = (PROJECT / "docs/kubeflow.md").read_text()
    (code,) = (block for block in re.findall(r"```python\n(.+?)```", page, re.S) if "Cron" in block)
    monkeypatch.chdir(tmp_path)
    with tarfile.open("imn.tar.gz", "w:gz") as archive:
        (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(workflow.manifest))
        archive.add("pipeline.yaml")
    exec(code, {})
    manifest = yaml.safe_load((tmp_path / "imn-daily.yaml").read_text())
    assert unknown(manifest, "CronWorkflow") == []
    assert manifest["spec"]["workflowSpec"] == workflow.spec


def test_the_run(workflow):
    spec, metadata = workflow.spec, workflow.manifest["metadata"]
    assert spec["activeDeadlineSeconds"] == 7200
    assert spec["serviceAccountName"] == "trainer"
    assert spec["nodeSelector"] == {"pool": "training", "disk": "ssd"}
    assert metadata["labels"].items() >= {"team": "search", "app.kubernetes.io/name": "imn"}.items()
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 1000


def test_each_step(workflow):
    for step in workflow.steps:
        small = step.name in ("historyschema", "examplevalidator", "anomalystop", "baseline")
        memory, cpu, half = ("2048Mi", "1000m", "500m") if small else ("16384Mi", "4000m", "2000m")
        assert step.container["resources"] == {
            "limits": {"cpu": cpu, "memory": memory},
            "requests": {"cpu": half, "memory": memory},
        }
        assert step.command[:3] == ["python", "-m", "pipeline.kubeflow.step_1"]
        policy = "OnError" if step.name == "anomalystop" else "Always"
        assert step.retries == (3, policy)
        assert step.waits() == [60, 120, 240]
        # Argo counts it from the first start of the step.
        assert "maxDuration" not in step.template["retryStrategy"]["backoff"]
        labels = step.template["metadata"]["labels"]
        assert (labels["team"], labels["app.kubernetes.io/component"]) == ("search", step.name)
        (artifact,) = step.template["outputs"]["artifacts"]
        assert artifact["path"].startswith("/tmp/")  # where the user of the image can write


def test_the_password_is_in_the_secret_alone(workflow):
    secrets = {"store": {"password": "s3cret"}}
    for step in workflow.steps:
        environment = step.environment("imn-1", "pod", secrets)
        assert environment["METADATA_PASSWORD"] == "s3cret"
        assert environment["WORKFLOW_ID"] == "imn-1"
        (metadata,) = (part for part in step.command if "mysql_db_user" in part)
        assert '"environment_variable": "METADATA_PASSWORD"' in metadata
    with pytest.raises(KeyError, match="store"):
        workflow.steps[0].environment("imn-1", "pod", {})


def test_a_password_in_the_address_is_refused():
    message = r"`metadata` must be without a password on Kubeflow.*:\*\*\*@.*secret 'imn-metadata'"
    with pytest.raises(SettingsError, match=message) as error:
        kubeflow_runner.write(Settings(metadata="mysql://me:s3cret@db.example/imn"))
    assert "s3cret" not in str(error.value)


def test_a_field_that_the_reader_does_not_know_is_refused(workflow):
    with pytest.raises(ValueError, match=r"the workflow .* does not know: \['parallelism'\]"):
        package.parse(workflow.manifest | {"spec": workflow.spec | {"parallelism": 1}})


def test_steps_that_wait_for_each_other_are_named(workflow):
    manifest = copy.deepcopy(workflow.manifest)
    (entry,) = (each for each in manifest["spec"]["templates"] if "dag" in each)
    for task in entry["dag"]["tasks"]:
        if task["name"] == "transform":
            task["dependencies"] = ["trainer"]
    with pytest.raises(ValueError, match=r"wait for each other: .*'trainer', 'transform'"):
        package.parse(manifest)
