"""Two workers: the weights of one, sparse gradients, a killed worker, and who writes."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import psutil
import pytest

from model.training import cluster
from model.training.workers import ARGUMENTS
from tests.support import exchanged_rows
from tests.support.trainings import SEPARABLE, arguments, run_fn, train, weights

ROOT = pathlib.Path(__file__).resolve().parents[3]
STEPS = 3 * 30  # 3,000 samples in batches of 101


def kill_at_first_checkpoint(root, index, killed):
    """Kills worker `index` of this process as soon as there is a checkpoint."""
    while not list(root.glob("checkpoints/*/ckpt-*.index")):
        time.sleep(0.005)
    for process in psutil.Process().children():
        if f'"index": {index}' in process.environ().get(cluster.VARIABLE, ""):
            process.kill()
            killed.append(process.pid)


def test_a_killed_worker_ends_the_training_and_the_next_one_has_the_weights_of_one_worker(
    world, tmp_path, monkeypatch
):
    alone = train(world, tmp_path / "alone", **SEPARABLE)

    root, temporary, rows = (tmp_path / name for name in ("two", "temporary", "rows"))
    temporary.mkdir()
    rows.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv(exchanged_rows.FOLDER, str(rows))
    args = arguments(world, root, distribute="multi_worker", workers=2, **SEPARABLE)
    killed = []
    killer = threading.Thread(target=kill_at_first_checkpoint, args=[root, 1, killed], daemon=True)
    killer.start()
    with pytest.raises(RuntimeError, match=r"Worker 1 was killed by SIGKILL, so all 2 .*goes on"):
        run_fn(args)
    assert killed
    assert not [p for p in psutil.Process().children() if "model.worker" in p.cmdline()]
    steps_before = len(exchanged_rows.read(rows)[0])
    assert 15 <= steps_before < STEPS

    run_fn(args)
    for got, expected in zip(weights(world, root), alone, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-4)

    # Sparse gradients: what is applied is the rows of both parts of a batch, not the table.
    (first, second) = (exchanged_rows.read(rows)[replica] for replica in (0, 1))
    steps = min(len(first), len(second), steps_before) - 1  # until one was killed
    for own in (first[:steps], second[:steps]):
        np.testing.assert_array_equal(own[:, 1], first[:steps, 0] + second[:steps, 0])
    assert first[:, 1].max() < 101 * (world.length + 1) < 2000
    # It resumed: the steps up to the checkpoint were not done again.
    assert STEPS <= len(first) < STEPS + steps_before - 14

    # The chief alone writes.
    assert not list(temporary.iterdir())
    assert not list((root / "checkpoints").iterdir()), f"{ARGUMENTS} and checkpoints are left"
    names = {file.name for file in (root / "run").iterdir() if file.suffix != ".log"}
    assert names == {"logs", "training.json", "weights.index", "weights.data-00000-of-00001"}
    logs = {file.name for file in (root / "run").glob("*.log")}
    assert logs == {"worker_0.log", "worker_1.log"}
    processes = {file.name.split(".")[-3] for file in (root / "run" / "logs").rglob("events*")}
    assert len(processes) == 2, "the chief of either run"


def test_the_reason_of_a_worker_ends_the_training(world, tmp_path, monkeypatch):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        jobs, task = {"worker": [f"127.0.0.1:{port}"]}, {"type": "worker", "index": 0}
        monkeypatch.setenv(cluster.VARIABLE, json.dumps({"cluster": jobs, "task": task}))
        says = f"Worker 0 failed: Port {port} of this worker must be free.*Its log: .*worker_0.log"
        with pytest.raises(RuntimeError, match=says):
            run_fn(arguments(world, tmp_path, distribute="multi_worker"))
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_workers_on_different_machines_start_again_after_one_is_killed(world, tmp_path, killed):
    """Whoever fails is started again, as Kubernetes does; only one of them is killed."""
    alone = train(world, tmp_path / "alone", **SEPARABLE)
    root = tmp_path / "two"
    args = arguments(world, root, distribute="multi_worker", **SEPARABLE)
    run = "import json, sys, types; from model.trainer import run_fn; "
    run += "run_fn(types.SimpleNamespace(**json.loads(sys.argv[1])))"
    file = str(root / "checkpoints" / ARGUMENTS)
    commands = [["-c", run, json.dumps(vars(args))], ["-m", "model.worker", file]]
    configs = cluster.on_this_machine(2)

    def start(number):
        # A Trainer of TFX that starts again has other folders for what it gives on.
        args.serving_model_dir = str(root / f"export-{time.monotonic_ns()}")
        commands[0][-1] = json.dumps(vars(args))
        environ = os.environ | {cluster.VARIABLE: configs[number]}
        return subprocess.Popen([sys.executable, *commands[number]], env=environ, cwd=ROOT)

    processes, ends, is_killed = [start(0), start(1)], [0, 0], False
    while processes[0].poll() != 0:
        if not is_killed and list(root.glob("checkpoints/*/ckpt-*.index")):
            is_killed = True
            processes[killed].kill()
        for number, process in enumerate(processes):
            if process.poll():
                ends[number] += 1
                assert ends[number] < 6
                processes[number] = start(number)
        assert processes[1].poll() != 0 or not os.path.exists(file), "it waits for the chief"
        time.sleep(0.05)
    assert is_killed
    assert min(ends) >= 1, "the worker that lost the other one ended by itself"
    assert processes[1].wait(60) == 0
    for got, expected in zip(weights(world, root), alone, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-4)
