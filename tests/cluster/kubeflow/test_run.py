"""How the package's steps are run: retries, time limit, memory, on commands of the shell."""

import signal
import sys
import time

import pytest

from tests.cluster.kubeflow import containers, package, run


def workflow(tmp_path, *commands, memory="512Mi", seconds=60, **strategy):
    """Steps one after the other, each with its command of Python."""
    retry = {"limit": 2, "retryPolicy": "Always", "backoff": {"duration": "60s", "factor": 2}}
    names = [f"step-{number}" for number in range(len(commands))]
    templates = [
        {
            "name": name,
            "metadata": {"labels": {}},
            "retryStrategy": retry | strategy,
            "container": {
                "image": "none",
                "command": [sys.executable, "-c"],
                "args": [command.replace("FOLDER", str(tmp_path))],
                "resources": {"limits": {"memory": memory}},
            },
        }
        for name, command in zip(names, commands, strict=True)
    ]
    tasks = [
        {"name": name, "template": name, "dependencies": names[:number]}
        for number, name in enumerate(names)
    ]
    # Argo does not keep the order of the list.
    entry = {"name": "all", "inputs": {"parameters": []}, "dag": {"tasks": tasks[::-1]}}
    spec = {
        "entrypoint": "all",
        "activeDeadlineSeconds": seconds,
        "arguments": {"parameters": []},
        "securityContext": {},
        "templates": [*templates, entry],
    }
    return package.parse({"metadata": {"generateName": "test-"}, "spec": spec})


def cluster(tmp_path, **options):
    logs = tmp_path / "logs"
    return run.Cluster(containers.Environment(), {}, {}, logs, patience=0.0, **options)


def test_steps_run_in_the_order_of_the_graph(tmp_path):
    commands = [f"print({n}, file=open('FOLDER/order', 'a'))" for n in range(3)]
    attempts = cluster(tmp_path).run(workflow(tmp_path, *commands))
    assert [attempt.step for attempt in attempts] == ["step-0", "step-1", "step-2"]
    assert (tmp_path / "order").read_text() == "0\n1\n2\n"
    assert all(attempt.status == 0 for attempt in attempts)


def test_a_step_is_repeated_as_often_as_the_package_says(tmp_path):
    # The first pod leaves a mark and is killed, the second finds it.
    command = (
        "import os, pathlib as p; mark = p.Path('FOLDER/mark')\n"
        "if not mark.exists(): mark.touch(); os.kill(os.getpid(), 9)"
    )
    attempts = cluster(tmp_path).run(workflow(tmp_path, command))
    assert [attempt.status for attempt in attempts] == [-signal.SIGKILL, 0]

    with pytest.raises(run.Failed, match="step-0 ended with status 3:\nno way") as error:
        cluster(tmp_path).run(workflow(tmp_path, "print('no way'); exit(3)"))
    assert len(error.value.attempts) == 3


def test_a_policy_for_lost_pods_does_not_repeat_an_answer(tmp_path):
    with pytest.raises(run.Failed) as error:
        cluster(tmp_path).run(workflow(tmp_path, "exit(1)", "pass", retryPolicy="OnError"))
    assert len(error.value.attempts) == 1


def test_the_time_limit_ends_the_run(tmp_path):
    started = time.monotonic()
    with pytest.raises(run.Failed, match="status -9"):
        cluster(tmp_path).run(workflow(tmp_path, "import time; time.sleep(60)", seconds=2))
    assert time.monotonic() - started < 30


def test_a_step_above_its_memory_limit_fails(tmp_path):
    command = "import time; held = b'1' * (1 << 26); time.sleep(30)"
    with pytest.raises(run.Failed, match="status -9"):
        cluster(tmp_path).run(workflow(tmp_path, command, memory="32Mi"))
