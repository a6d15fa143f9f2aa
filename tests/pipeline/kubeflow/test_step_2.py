"""The command of a step on Kubeflow Pipelines 2, with TFX's own entry point after it."""

import json
import os
import subprocess
import sys

from tfx.types import standard_artifacts

MARK = "executor_started"


def test_what_a_killed_pod_left_is_removed_before_the_executor_starts(tmp_path):
    model, run, file = tmp_path / "model", tmp_path / "run", tmp_path / "file"
    (model / "beam-temp").mkdir(parents=True)
    (model / "beam-temp" / "half").touch()
    file.touch()
    (tmp_path / "other").touch()
    kind = {"schemaTitle": f"tfx.{standard_artifacts.Model.TYPE_NAME}"}
    outputs = {
        path.name: {"artifacts": [{"name": path.name, "uri": str(path), "type": kind}]}
        for path in (model, run, file)
    }
    written = tmp_path / "executor_output.json"
    invocation = {"outputs": {"artifacts": outputs, "outputFile": str(written)}}
    # An executor that says what it finds.
    (tmp_path / "own.py").write_text(
        "import os\n"
        "from tfx.dsl.components.base import base_executor\n"
        "class Executor(base_executor.BaseExecutor):\n"
        "    def Do(self, inputs, outputs, properties):\n"
        "        found = {k: os.listdir(v[0].uri) for k, v in sorted(outputs.items())}\n"
        f"        print('{MARK}', found)\n"
    )
    command = ["--executor_class_path", "own.Executor", "--runner=DirectRunner"]
    command += ["--json_serialized_invocation_args", json.dumps(invocation)]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.kubeflow.step_2", *command],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.getcwd()}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{MARK} {{'file': [], 'model': [], 'run': []}}" in done.stdout
    assert (tmp_path / "other").exists()
    assert set(json.loads(written.read_text())["artifacts"]) == {"model", "run", "file"}
