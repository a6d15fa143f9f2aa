"""`run_fn` as TFX calls it: it learns, repeats itself, resumes, and refuses unusable samples."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from model import trainer
from model.trainer import DESCRIPTION, load_trained, run_fn
from model.training import loop
from tests.support import mean_model
from tests.support.events import scalars
from tests.support.trainings import RECIPE, arguments, described, train, weights
from transforms import features

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    train(world, root)
    return root


def same(one, other):
    return all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def test_a_training_learns_and_writes_all_its_files(world, trained):
    description = described(trained)
    aucs = [evaluation["eval_auc"] for evaluation in description["evaluations"]]
    assert description["best"]["eval_auc"] == max(aucs) > 0.75
    assert [evaluation["step"] for evaluation in description["evaluations"]] == [24, 47, 71, 94]
    assert description["config"]["passes"] == 1
    assert description["recipe"]["batch_size"] == 64
    # A finished training removes its checkpoints.
    assert not list((trained / "checkpoints").iterdir())


def test_reloaded_weights_are_those_of_the_best_evaluation(world, trained):
    ranker = load_trained(str(trained / "run"), world.transform)
    spec = {name: tf.io.FixedLenFeature([6], tf.int64) for name in ("history_item",)}
    spec |= {features.HISTORY_ELAPSED: tf.io.FixedLenFeature([6], tf.int64)}
    for name in (features.HISTORY_LENGTH, features.TARGET_ITEM, features.LABEL):
        spec[name] = tf.io.FixedLenFeature([1], tf.int64)
    files = tf.io.gfile.glob(os.path.join(world.eval, "*"))
    rows = list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
    batch = tf.io.parse_example(rows, spec)
    scores, labels = ranker(batch).numpy()[:, 0], batch[features.LABEL].numpy()[:, 0] == 1
    above = scores[labels][:, None] - scores[~labels][None, :]
    auc = np.mean((above > 0) + 0.5 * (above == 0))
    assert auc == pytest.approx(described(trained)["best"]["eval_auc"], abs=1e-4)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    world, trained, tmp_path, capsys
):
    once = weights(world, trained)
    assert same(once, train(world, tmp_path / "again"))
    out = capsys.readouterr().out.strip().splitlines()
    assert not same(once, train(world, tmp_path / "other", training_seed=1))
    # Without a terminal, progress is one line for each evaluation, and one on the end.
    *progress, ending = out
    assert [line.split("]")[1].split()[0] for line in progress] == ["24/47", "47/47"] * 2
    assert progress[2].strip().startswith("epoch 2 [")
    evaluations = described(trained)["evaluations"]
    for line, evaluation in zip(progress, evaluations, strict=True):
        assert f"training loss {evaluation['train_loss']:.4f}" in line
        assert f"eval auc {evaluation['eval_auc']:.4f}" in line
    best = max(evaluations, key=lambda evaluation: evaluation["eval_auc"])
    assert ending.strip() == (
        f"all epochs are done (2); epoch {best['epoch'] + 1} is kept (step {best['step']}, "
        f"eval AUC {best['eval_auc']:.4f})"
    )


CHILD = """
import json, sys, types
from model.training import loop
loop.CHECKPOINT_SECONDS, loop._COST = 0.0, 0.0
step = loop.Training._train
def slow(self, batch):
    step(self, batch)
    print("step", self.state.step, flush=True)
loop.Training._train = slow
from model.trainer import run_fn
run_fn(types.SimpleNamespace(**json.loads(sys.argv[1])))
"""


def child(args, until):
    """Runs `run_fn` in a process and kills it at a step; returns the first step that it took."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(vars(args))],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    first = None
    for line in process.stdout:
        if line.startswith("step "):
            step = int(line.split()[1])
            first = first or step
            if step >= until:
                process.send_signal(signal.SIGKILL)
                break
    assert process.wait() == -signal.SIGKILL
    return first


def test_a_killed_training_resumes_to_the_weights_of_an_uninterrupted_one(world, trained, tmp_path):
    """Killed in the first epoch before its first evaluation, and again in the second."""
    args = arguments(world, tmp_path)
    assert child(args, until=10) == 1
    second = child(args, until=60)
    assert 1 < second <= 11
    assert not os.path.exists(args.serving_model_dir)
    resumed = train(world, tmp_path)
    assert same(weights(world, trained), resumed)
    keys = ("step", "epoch", "eval_auc", "eval_loss")
    one, other = (
        [[evaluation[key] for key in keys] for evaluation in described(root)["evaluations"]]
        for root in (trained, tmp_path)
    )
    assert one == other
    # TensorBoard's curves of eval are the same, and no point of any curve is there twice.
    curves, continued = (scalars(root / "run" / "logs") for root in (trained, tmp_path))
    for run in ("eval", "best"):
        assert curves[run] == continued[run]
    assert curves["train"].keys() == continued["train"].keys()
    steps = [[step for step, _ in of["train"]["loss/total"]] for of in (curves, continued)]
    assert steps == [[24, 47, 50, 71, 94]] * 2


def test_a_training_resumes_only_with_the_same_inputs(world, tmp_path, monkeypatch):
    """Other samples, Transform graph, settings or code start a new training."""

    def refuse(*positional):
        raise InterruptedError(positional[5])

    def folder(**changes):
        monkeypatch.setattr(trainer, "Training", refuse)
        args = arguments(world, tmp_path, **changes.pop("custom", {}))
        for name, value in changes.items():
            setattr(args, name, value)
        with pytest.raises(InterruptedError) as error:
            run_fn(args)
        return str(error.value)

    for name, source in (("train", world.train), ("transform", world.transform)):
        shutil.copytree(source, tmp_path / name)
    moved = [str(tmp_path / "train" / "*")]
    once = folder()
    # The contents of the files count, not their folders.
    assert folder(train_files=moved, transform_output=str(tmp_path / "transform")) == once
    others = [
        folder(custom=custom)
        for custom in (
            {"code": "changed"},
            {"training_seed": 1},
            {"recipe": RECIPE | {"epochs": 3}},
            {"model_options": "passes=1,embedding_dim=4"},
            {"use_time": False},
        )
    ]
    others.append(folder(eval_files=[os.path.join(world.eval, "part-0.gz")]))
    first, second = (tmp_path / "train" / f"part-{shard}.gz" for shard in range(2))
    first.write_bytes(second.read_bytes())
    others.append(folder(train_files=moved))
    (tmp_path / "transform" / "transform_fn" / "assets" / "other").write_text("x")
    others.append(folder(transform_output=str(tmp_path / "transform")))
    assert len({once, *others}) == len(others) + 1


def test_early_stopping_keeps_the_best_evaluation():
    state = loop.State(step=5, evaluations=[{"eval_auc": auc} for auc in (0.6, 0.7, 0.7, 0.6)])
    assert state.best == 1
    assert not state.stopped(3)
    assert state.stopped(2)
    assert not loop.State().stopped(1)
    assert loop.evaluation_steps(10, 4) == {3, 5, 8, 10}
    assert loop.evaluation_steps(2, 4) == {1, 2}


def test_an_empty_split_is_refused(world, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    args = arguments(world, tmp_path)
    args.eval_files = [str(empty / "*")]
    with pytest.raises(ValueError, match="The eval split has no files"):
        run_fn(args)
    with tf.io.TFRecordWriter(str(empty / "part.gz"), "GZIP"):
        pass
    with pytest.raises(ValueError, match="The eval split is empty: no sample in 1 files"):
        run_fn(args)
    args = arguments(world, tmp_path)
    args.train_files = [str(empty / "*")]
    with pytest.raises(ValueError, match="The train split is empty"):
        run_fn(args)


def test_an_eval_split_of_one_class_is_refused(world, tmp_path):
    spec = {features.LABEL: tf.io.FixedLenFeature([1], tf.int64)}
    with tf.io.TFRecordWriter(str(tmp_path / "part.gz"), "GZIP") as writer:
        for file in tf.io.gfile.glob(os.path.join(world.eval, "*")):
            for row in tf.data.TFRecordDataset(file, "GZIP").as_numpy_iterator():
                if tf.io.parse_single_example(row, spec)[features.LABEL] == 1:
                    writer.write(row)
    args = arguments(world, tmp_path)
    args.eval_files = [str(tmp_path / "part.gz")]
    with pytest.raises(ValueError, match=r"must hold both labels.*200 samples with label 1"):
        run_fn(args)


def test_a_training_that_diverges_says_so(world, tmp_path):
    message = r"loss is .* at step .*Lower `learning_rate`.*Received: 1e\+30"
    with pytest.raises(ValueError, match=message):
        train(world, tmp_path, recipe=RECIPE | {"learning_rate": 1e30})


def test_a_last_update_that_diverges_says_so(world, tmp_path):
    """The loss of the only step is finite; the evaluation after it sees the new weights."""
    recipe = RECIPE | {"batch_size": 4000, "epochs": 1, "evaluations_per_epoch": 1}
    with pytest.raises(ValueError, match="A score of the eval split is not finite at step 1"):
        train(world, tmp_path, recipe=recipe | {"learning_rate": 1e30})


def test_an_empty_vocabulary_is_refused(world, tmp_path):
    """Transform then writes one reserved token."""
    transform = tmp_path / "transform"
    shutil.copytree(world.transform, transform)
    (file,) = transform.glob("transform_fn/assets/*item*")
    file.write_text("49d0cd50-04bb-48c0-bc6f-5b575dce351a\n")
    args = arguments(world, tmp_path)
    args.transform_output = str(transform)
    with pytest.raises(ValueError, match=r"is empty: no item .* occurs `min_item_count` times"):
        run_fn(args)


def test_a_transform_graph_with_another_vocabulary_is_refused(world, trained, tmp_path):
    description = described(trained)
    description["inputs"]["num_items"] += 1
    (tmp_path / DESCRIPTION).write_text(json.dumps(description))
    with pytest.raises(ValueError, match=r"must be that of the training.*Received: \d+ item"):
        load_trained(str(tmp_path), world.transform)
    with pytest.raises(ValueError, match="`pases` is not an option"):
        run_fn(arguments(world, tmp_path, model_options="pases=1"))


def test_a_model_outside_the_repository_trains_and_is_read_again(world, tmp_path, monkeypatch):
    shutil.copy(mean_model.__file__, tmp_path / "outside_trained.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    trained = train(
        world,
        tmp_path,
        model="outside_trained:MeanConfig",
        model_options="embedding_dim=8,head_units=8,scale=2",
    )
    description = described(tmp_path)
    assert description["config"]["scale"] == 2
    assert description["best"]["eval_auc"] > 0.7
    assert trained
    served = tf.saved_model.load(str(tmp_path / "serving")).signatures
    assert {"serving_default", "rank"} <= set(served)
    assert "explain" not in served
