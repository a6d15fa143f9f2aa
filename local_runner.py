"""Runs the pipeline on this machine: paths, and TFX's local runner.

`make run`, `tfx run create --engine=local` and `python local_runner.py` are the
same run. Settings come from the environment (pipeline/configs.py).
"""

import dataclasses
import os
import shlex
import sys
import warnings

# Before TensorFlow is imported: TensorFlow Transform and TFRS need Keras 2.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
# Libraries warn about old Python versions; `console.python_age` says so once, with the cure.
warnings.simplefilter("ignore", FutureWarning)
_ROOT = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, _ROOT)

from pipeline.configs import Settings, check_model, check_workers, serving_name  # noqa: E402
from pipeline.errors import InputError  # noqa: E402
from pipeline.ingest.sources import reading  # noqa: E402
from pipeline.items import catalogue  # noqa: E402
from pipeline.local import console, output_folder, sample_data  # noqa: E402
from pipeline.local.memory import Cost  # noqa: E402


def main() -> int:
    """Runs the pipeline that the environment describes; gives the exit status."""
    try:
        settings = Settings.from_environment(os.environ)
        with output_folder.locked(os.path.abspath(settings.output)):
            return _run(settings, os.path.abspath(settings.output))
    except KeyboardInterrupt:  # before a run starts, or while it ends
        return console.stopped()
    except InputError as error:
        console.say(f"Input: {error}")
        return console.BAD_INPUT
    except OSError as error:  # such as a full disk, before there is a log
        status, reason = console.explain(error)
        console.say(reason)
        return status


def _run(settings: Settings, output: str) -> int:
    """One run. Faults of the input are found before TFX is loaded."""
    generated = not settings.ratings
    ratings = settings.ratings or os.path.join(output, "data", "generated_ratings.csv")
    items = settings.items
    if generated:
        items = os.path.join(output, "data", "generated_items.jsonl")
        sample_data.write_ratings(ratings, catalogue=items)
    ratings, items = (
        os.path.abspath(path) if path and "://" not in path else path for path in (ratings, items)
    )
    settings = dataclasses.replace(settings, ratings=ratings, items=items)
    check_model(settings)
    check_workers(settings, os.environ)
    if settings.beam_args:
        from pipeline.local import beam_check

        beam_check.addresses(shlex.split(settings.beam_args))
    if not settings.metadata:
        output_folder.check_metadata(os.path.join(output, "metadata.db"))
    described = reading.describe(settings)
    if generated:
        described[0] += " (generated from a seed, not real)"
    if items:
        described += catalogue.describe(items, settings.item_fields)

    served = "0"

    def start() -> bool:
        nonlocal served
        for line in (*console.python_age(), *described):
            console.say(line)
        console.say(f"Model: {settings.model}, output under {output}")
        console.say(f"To watch the training: make board{console.make_argument(output)}")

        from tfx import v1 as tfx

        from pipeline import connections, pipeline
        from pipeline.local import lineage
        from pipeline.release import pusher

        serving_dir = os.path.join(output, "serving_model", serving_name(settings))
        served = str(max(pusher.versions(serving_dir), default=0))
        connection = connections.metadata(settings, output)
        if generated and served != "0":
            lineage.check_generated(connection, os.path.join(serving_dir, served), ratings)
        name = pipeline.pipeline_name(settings)
        beam_args = connections.beam_args(settings, _ROOT)
        if settings.beam_args:
            from pipeline.local import beam_check

            inputs = [path for path in (ratings, items) if path]
            workers = beam_check.probe(beam_args, output, inputs)
            if workers:
                console.say(workers)
        before = lineage.newest_execution(connection, name)
        tfx.orchestration.LocalDagRunner().run(
            pipeline.create_pipeline(
                settings,
                pipeline_root=os.path.join(output, "pipeline", name),
                serving_dir=serving_dir,
                checkpoint_root=os.path.join(output, "checkpoints"),
                beam_pipeline_args=beam_args,
                metadata_connection_config=connection,
                served=served,
            )
        )
        return lineage.newest_execution(connection, name) != before

    def report(costs: dict[str, Cost]) -> int:
        from pipeline import connections
        from pipeline.local import report

        return report.tell(
            connections.metadata(settings, output), settings, output, served, generated, costs
        )

    return console.run(output, start, report)


if __name__ == "__main__":
    sys.exit(main())
