"""The Evaluator component: TFMA computes the metrics, the gate judges them."""

import json
import os
from typing import Any

import tensorflow as tf
from absl import logging
from tfx import types
from tfx.components.evaluator import component, constants, executor
from tfx.components.util import examples_utils
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.utils import io_utils, path_utils

from pipeline.configs import Gate
from pipeline.errors import InputError
from pipeline.evaluation import eval_config, loaded
from pipeline.evaluation.baseline import NOTHING_SERVED, is_saved_model
from pipeline.evaluation.controls import controls, table
from pipeline.evaluation.diagnostics.sample import diagnose
from pipeline.evaluation.gate import Verdict, judge
from pipeline.evaluation.outputs import curves_of, summary, write
from pipeline.evaluation.retrieval import metrics as retrieval_metrics
from pipeline.evaluation.scored import files as scored
from pipeline.examples import require_all_shards, row_count
from pipeline.progress import Progress
from transforms import features

VERDICT_FILE, METRICS_FILE, CONTROLS_FILE = "verdict.json", "metrics.json", "controls.json"
CATALOGUE_FILE, CURVES_FILE = "catalogue.json", "curves.json"
DIAGNOSTICS_FILE = "diagnostics.json"
_TRAIN, _, _TEST = features.SPLITS
_PROBE_ROWS = 16
_BLOCKS = "blocks"
_MODELS = {
    eval_config.CANDIDATE: standard_component_specs.MODEL_KEY,
    eval_config.BASELINE: standard_component_specs.BASELINE_MODEL_KEY,
}


class Executor(executor.Executor):
    """Runs TFX's Evaluator without thresholds, then blesses by `pipeline.evaluation.gate`.

    Writes `verdict.json` (`gate.Verdict`), `metrics.json` (by slice and name), `controls.json`
    (`controls.Controls`), `catalogue.json` (`retrieval.metrics.evaluate`, null for a model without
    a first stage), `curves.json` (`curves.curves` of all test rows, by model) and
    `diagnostics.json` (`sample.diagnose`) into the evaluation artifact. Undefined numbers are null.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Computes metrics, judges, and sets the ModelBlessing that Pusher and resolvers read.

        Raises:
          InputError: if the test split is empty or incomplete.
        """
        try:
            self._evaluate(input_dict, output_dict, exec_properties)
        finally:
            loaded.forget()

    def _evaluate(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        require_all_shards(input_dict[standard_component_specs.EXAMPLES_KEY])
        input_dict = _without_empty_baseline(input_dict)
        uncompared = _why_uncompared(input_dict)
        judged = dict(input_dict)
        if uncompared:
            logging.warning("%s", uncompared)
            judged[standard_component_specs.BASELINE_MODEL_KEY] = []
        folder = artifact_utils.get_single_uri(output_dict[constants.EVALUATION_KEY])
        self._compute_metrics(judged, output_dict, exec_properties, os.path.join(folder, _BLOCKS))
        metrics = eval_config.load_metrics(folder)
        if eval_config.OVERALL not in metrics.get(eval_config.CANDIDATE, {}):
            raise InputError(
                f"The split `{_TEST}` must hold at least one row. Received: none in "
                f"{_files(input_dict, _TEST)}. Raise `test_share`, or give more ratings."
            )
        settings = Gate(**json.loads(exec_properties["gate"]))
        model = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
        export = path_utils.serving_model_path(model.uri)
        train, test = _files(input_dict, _TRAIN), _files(input_dict, _TEST)
        catalogue = retrieval_metrics.evaluate(export, train, test)
        recall = None
        if catalogue:
            recall = catalogue["first_stage"]["metrics"][eval_config.OVERALL]["recall@100"]
        verdict = judge(
            metrics[eval_config.CANDIDATE],
            metrics.get(eval_config.BASELINE),
            settings,
            uncompared,
            recall,
        )
        logging.info("%s", verdict.reason)
        write(folder, VERDICT_FILE, verdict.to_dict())
        write(folder, METRICS_FILE, summary(metrics))
        write(folder, CATALOGUE_FILE, catalogue)
        write(folder, CURVES_FILE, curves_of(metrics))
        _bless(verdict, input_dict, output_dict, exec_properties)

        measured = controls(train, test, export)
        logging.info("Controls on %s:\n%s", _TEST, table(measured.summary))
        write(folder, CONTROLS_FILE, measured.summary)
        write(folder, DIAGNOSTICS_FILE, diagnose(export, measured.model_rows))

    def _compute_metrics(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
        folder: str,
    ) -> None:
        """Scores the rows of test, and has TFX's Evaluator run TFMA on the result in a folder."""
        models = {
            name: path_utils.serving_model_path(input_dict[key][0].uri)
            for name, key in _MODELS.items()
            if input_dict.get(key)
        }
        (examples,) = input_dict[standard_component_specs.EXAMPLES_KEY]
        blocks = standard_artifacts.Examples()
        blocks.uri, blocks.split_names = folder, artifact_utils.encode_split_names([_TEST])
        examples_utils.set_payload_format(blocks, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        split = artifact_utils.get_split_uri([blocks], _TEST)
        fileio.makedirs(split)
        with (
            Progress("Evaluator, test rows", row_count(examples, _TEST)) as progress,
            self._make_beam_pipeline() as pipeline,
        ):
            scored.write(pipeline, _files(input_dict, _TEST), models, split, progress.advance)
        inputs = input_dict | {standard_component_specs.EXAMPLES_KEY: [blocks]}
        reader = {"custom_extractors": f"{scored.__name__}.{scored.extractors.__name__}"}
        super().Do(inputs, output_dict, exec_properties | reader)
        fileio.rmtree(folder)


class GatedEvaluator(component.Evaluator):
    """TFX's Evaluator on the test split; the gate blesses, not TFMA's thresholds."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        baseline_model: types.BaseChannel,
        settings: Gate,
    ) -> None:
        """Makes the component.

        Args:
          examples: raw Examples with the splits train and test.
          model: the candidate.
          baseline_model: the model to compare with, or none; see `baseline.ServedModel`.
          settings: of the gate.
        """
        super().__init__(
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            example_splits=[_TEST],
            eval_config=eval_config.eval_config(),
        )
        self.exec_properties["gate"] = json.dumps(settings.to_dict())


def _bless(
    verdict: Verdict,
    input_dict: dict[str, list[types.Artifact]],
    output_dict: dict[str, list[types.Artifact]],
    exec_properties: dict[str, Any],
) -> None:
    """Writes the file and properties that TFX's Evaluator writes with thresholds."""
    blessing = artifact_utils.get_single_instance(
        output_dict[standard_component_specs.BLESSING_KEY]
    )
    model = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
    blessing.set_string_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
    )
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    for baseline in input_dict.get(standard_component_specs.BASELINE_MODEL_KEY) or []:
        blessing.set_string_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri
        )
        blessing.set_int_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id
        )
    if "current_component_id" in exec_properties:
        blessing.set_string_custom_property("component_id", exec_properties["current_component_id"])
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY,
        constants.BLESSED_VALUE if verdict.blessed else constants.NOT_BLESSED_VALUE,
    )
    name = constants.BLESSED_FILE_NAME if verdict.blessed else constants.NOT_BLESSED_FILE_NAME
    io_utils.write_string_file(os.path.join(blessing.uri, name), "")


def _without_empty_baseline(
    input_dict: dict[str, list[types.Artifact]],
) -> dict[str, list[types.Artifact]]:
    baselines = input_dict.get(standard_component_specs.BASELINE_MODEL_KEY) or []
    kept = [
        baseline
        for baseline in baselines
        if not fileio.exists(os.path.join(baseline.uri, NOTHING_SERVED))
    ]
    return input_dict | {standard_component_specs.BASELINE_MODEL_KEY: kept}


def _why_uncompared(input_dict: dict[str, list[types.Artifact]]) -> str:
    """Why the baseline cannot score the test rows; "" if it can, or if there is none."""
    baselines = input_dict.get(standard_component_specs.BASELINE_MODEL_KEY) or []
    files = _files(input_dict, _TEST)
    if not baselines or not files:
        return ""
    path = path_utils.serving_model_path(baselines[0].uri)
    if not is_saved_model(path):
        return f"the files of the served model are gone from {path}"
    try:
        score = loaded.scorer(path)
        rows = list(tf.data.TFRecordDataset(files, "GZIP").take(_PROBE_ROWS).as_numpy_iterator())
        score(tf.constant(rows))
    except (tf.errors.OpError, ValueError, TypeError, KeyError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"the served model at {path} cannot score these test rows ({reason[:200]})"
    return ""


def _files(input_dict: dict[str, list[types.Artifact]], split: str) -> list[str]:
    uri = artifact_utils.get_split_uri(input_dict[standard_component_specs.EXAMPLES_KEY], split)
    return sorted(str(file) for file in fileio.glob(os.path.join(uri, "*")))
