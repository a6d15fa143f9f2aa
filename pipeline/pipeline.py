"""The pipeline: its components and what connects them.

    RatingsExampleGen -> StatisticsGen -> ExampleValidator -> AnomalyStop
        -> ItemTable -> Transform -> Trainer -> InfraCheck -> Evaluator (gate) -> Pusher

ItemTable is there if the run has a catalogue of items.

TFX reuses a component's output if inputs and properties equal those of an earlier run. A digest
of the code is one of the properties (pipeline/dependencies.py).
"""

import os
import pathlib
import re
import sys
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx
from tfx.dsl.components.base import executor_spec

from model import presets
from pipeline.configs import (
    Gate,
    Ingestion,
    Settings,
    SettingsError,
    Training,
    Transform,
)
from pipeline.dependencies import digest
from pipeline.evaluation.baseline import ServedModel
from pipeline.evaluation.evaluator import GatedEvaluator
from pipeline.ingest import component
from pipeline.items.component import ItemTable
from pipeline.kubeflow.served_copy import ServedModelCopy
from pipeline.release import pusher
from pipeline.release.infra_check import InfraCheck
from pipeline.schema import HistorySchema
from pipeline.transform.component import CheckedTransform
from pipeline.validation import AnomalyStop, SampledStatisticsGen


def pipeline_name(settings: Settings) -> str:
    """`imn` for the default model, `imn-MODEL` for another."""
    default = Settings.model
    words = re.sub("[^a-z0-9]+", "-", settings.model.lower())  # the names that Kubeflow allows
    return "imn" if settings.model == default else f"imn-{words}"


def create_pipeline(
    settings: Settings,
    pipeline_root: str,
    serving_dir: str,
    checkpoint_root: str,
    beam_pipeline_args: list[str],
    metadata_connection_config: metadata_store_pb2.ConnectionConfig | None = None,
    served: str = "",
    runs_resolvers: bool = True,
) -> tfx.dsl.Pipeline:
    """The pipeline for one set of settings; runners add only paths.

    Args:
      settings: what the run does. `settings.ratings` must name ratings.
      pipeline_root: where the components write their artifacts.
      serving_dir: folder of the pushed versions, which a server watches.
      checkpoint_root: folder of the checkpoints that trainings resume from.
      beam_pipeline_args: options of every Beam job.
      metadata_connection_config: the metadata store; a runner of Kubeflow has its own.
      served: the newest version under `serving_dir`, "0" if there is none; "" if the runner cannot
        see that folder. Part of the Pusher's cache key, so that a version removed by hand is
        pushed again.
      runs_resolvers: whether the runner can run a resolver of ours. If not, a component copies the
        served model.

    Raises:
      SettingsError: if the model or an option does not exist.
    """
    if not (settings.use_ids or settings.items):
        raise SettingsError(
            "`use_ids` must be true without attributes: nothing is left to know items by. "
            "Received: False. Give a catalogue (IMN_ITEMS), or leave ids on."
        )
    recipe = settings.recipe()
    try:  # before anything runs, rather than when the Trainer starts
        resolved = presets.resolve(settings.model, settings.model_options, recipe)
        model_files = _model_files(settings.model)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    model_code = digest("model/trainer.py", *model_files)

    example_gen = component.RatingsExampleGen(settings.group(Ingestion))
    schema = HistorySchema(
        max_history_length=settings.max_history_length, event_fields=settings.event_fields
    )
    statistics = SampledStatisticsGen(
        examples=example_gen.outputs["examples"], rows=settings.statistics_rows
    ).with_id("StatisticsGen")
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    stop = AnomalyStop(anomalies=validator.outputs["anomalies"])

    item_nodes: list[Any] = []
    if settings.items:
        item_nodes.append(ItemTable(example_gen.outputs["examples"], settings))
        item_nodes[0].add_upstream_node(stop)
    transform = CheckedTransform(
        examples=example_gen.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="transforms.preprocessing.preprocessing_fn",
        splits=("train", "eval"),
        custom_config=settings.group(Transform).to_dict() | {"event_fields": settings.event_fields},
        item_table=item_nodes[0].outputs["item_table"] if item_nodes else None,
    ).with_id("Transform")
    transform.add_upstream_node(stop)

    trainer = tfx.components.Trainer(
        run_fn="model.trainer.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["eval"]),
        custom_config=settings.group(Training).to_dict()
        | {
            "max_history_length": settings.max_history_length,
            "oov_buckets": settings.oov_buckets,
            "event_fields": settings.event_fields,
            "recipe": recipe,
            "checkpoint_root": checkpoint_root,
            "code": model_code,
        },
    )

    candidate = trainer.outputs["model"]
    baseline: Any
    if runs_resolvers:
        baseline = tfx.dsl.Resolver(
            strategy_class=ServedModel,
            config={
                "serving_dir": serving_dir,
                "copies": os.path.join(pipeline_root, "Baseline"),
                "served": served,
            },
            candidate=candidate,
            model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        )
    else:
        baseline = ServedModelCopy(candidate=candidate, serving_dir=serving_dir)
    baseline = baseline.with_id("Baseline")
    evaluator = GatedEvaluator(
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        settings=settings.group(Gate),
    ).with_id("Evaluator")
    check = InfraCheck(
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        transform_graph=transform.outputs["transform_graph"],
        examples=example_gen.outputs["examples"],
    )
    push = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=check.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=serving_dir)
        ),
        custom_executor_spec=executor_spec.ExecutorClassSpec(pusher.Executor),
    )

    for node, files in (
        (example_gen, ["pipeline/ingest/component.py"]),
        (schema, ["pipeline/schema.py", "pipeline/schema.pbtxt"]),
        (statistics, ["pipeline/validation.py"]),
        (stop, ["pipeline/validation.py"]),
        (transform, ["pipeline/transform/component.py", "transforms/preprocessing.py"]),
        # TFMA finds the metric by its name in the configuration.
        (
            evaluator,
            ["pipeline/evaluation/evaluator.py", "pipeline/evaluation/scored/tfma_metric.py"],
        ),
        (
            check,
            ["pipeline/release/infra_check.py", "pipeline/release/fresh_session.py", *model_files],
        ),
        (push, ["pipeline/release/pusher.py"]),
    ):
        node.exec_properties["code"] = digest(*files)
    for node in item_nodes:
        node.exec_properties["code"] = digest("pipeline/items/component.py")
    # Of the presets, only the values of this model count.
    trainer.exec_properties["code"] = f"{model_code} {resolved}"
    push.exec_properties["served"] = served

    return tfx.dsl.Pipeline(
        pipeline_name=pipeline_name(settings),
        pipeline_root=pipeline_root,
        components=[
            example_gen,
            schema,
            statistics,
            validator,
            stop,
            *item_nodes,
            transform,
            trainer,
            baseline,
            evaluator,
            check,
            push,
        ],
        enable_cache=True,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=beam_pipeline_args,
    )


def _model_files(model: str) -> list[pathlib.Path]:
    """The file of a model. A model outside the project has all files of its package."""
    preset = presets.preset(model)
    module = sys.modules[preset.config_class().__module__]
    own = module.__name__.split(".")[0] == "model"
    return [pathlib.Path(str(module.__file__))] if own else preset.source_files()
