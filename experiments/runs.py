"""The runs of a table: trained in parallel, each in its own process, and stored as JSON.

The name of a result is a digest of its settings, so that tables share runs.
"""

import json
import multiprocessing
import multiprocessing.connection
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from experiments import training
from experiments.sampling.samples import Samples
from experiments.training import Run


def run_all(
    runs: Sequence[Run],
    samples: Samples,
    folder: str,
    work: str,
    jobs: int = 1,
    log: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """The results of all runs; trains only those without a stored result.

    Args:
      runs: the runs.
      samples: the samples of all runs.
      folder: folder of the results, one JSON file for each run.
      work: folder of checkpoints.
      jobs: number of runs in parallel.
      log: called with each line of progress.

    Raises:
      RuntimeError: if a run fails; the results of the others are stored.
    """
    os.makedirs(folder, exist_ok=True)
    paths = [f"{folder}/{run.key(samples)}.json" for run in runs]
    by_path = dict(zip(paths, runs, strict=True))
    waiting = [(run, path) for path, run in by_path.items() if not os.path.exists(path)]
    done = len(runs) - len(waiting)
    log(f"{done} of {len(runs)} runs are done, {len(waiting)} to train.")
    context = multiprocessing.get_context("spawn")
    running: dict[Any, tuple[Run, str, float]] = {}
    failed = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                run, path = waiting.pop(0)
                process = context.Process(target=training.train, args=(run, samples, path, work))
                process.start()
                running[process] = (run, path, time.monotonic())
            multiprocessing.connection.wait([process.sentinel for process in running])
            for process in [process for process in running if not process.is_alive()]:
                run, path, start = running.pop(process)
                process.join()
                if not os.path.exists(path):
                    failed.append(f"{run.name}, seed {run.seed}")
                    log(f"FAILED {failed[-1]}; its error is above and in {path}.log")
                    continue
                done, result = done + 1, _stored(path, run)
                log(
                    f"{done}/{len(runs)} {run.name} seed {run.seed}: eval "
                    f"{result['eval_auc']:.4f}, test {result['auc']:.4f}, gauc "
                    f"{result['gauc']:.4f}, {time.monotonic() - start:.0f} s"
                )
    finally:
        for process in running:
            process.terminate()
    if failed:
        raise RuntimeError(
            f"These runs failed: {'; '.join(failed)}. The results of the others are stored."
        )
    return [_stored(path, run) for run, path in zip(runs, paths, strict=True)]


def share_cores(jobs: int) -> None:
    """Gives each of `jobs` parallel trainings its share of the cores."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = str(threads)


def provenance(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The versions of the code that trained the runs, and whether all are the current one."""
    versions = sorted({result["code"] for result in results})
    return {"code": versions, "trained_by_this_code": versions == [training.code()]}


def _stored(path: str, run: Run) -> dict[str, Any]:
    """A stored result, with the name of this run."""
    with open(path, encoding="utf-8") as file:
        return {**json.load(file), "name": run.name}
