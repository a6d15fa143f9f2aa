"""TFMA's metrics as the Evaluator's files of JSON."""

import json
import os
from typing import Any

import numpy as np
from tfx.dsl.io import fileio

from pipeline.evaluation import eval_config
from pipeline.evaluation.diagnostics import curves
from pipeline.evaluation.gate import standard_error


def summary(metrics: dict[str, Any]) -> dict[str, Any]:
    """The candidate's metrics by slice, with the baseline's under `baseline`."""
    result = {}
    for slice_name, values in metrics[eval_config.CANDIDATE].items():
        result[slice_name] = _without_replicates(values)
        if eval_config.BASELINE in metrics:
            baseline = metrics[eval_config.BASELINE][slice_name]
            result[slice_name][eval_config.BASELINE] = _without_replicates(baseline)
    return result


def _without_replicates(values: dict[str, Any]) -> dict[str, Any]:
    """The metrics without curves, and a standard error in place of the bootstrap's replicates."""
    return {
        name.replace("replicates", "standard_error"): standard_error(value)
        if isinstance(value, np.ndarray)
        else value
        for name, value in values.items()
        if name not in curves.NAMES
    }


def curves_of(metrics: dict[str, Any]) -> dict[str, Any]:
    """The curves of all test rows, by model and name, as lists."""
    return {
        model: {name: of_slice[eval_config.OVERALL][name].tolist() for name in curves.NAMES}
        for model, of_slice in metrics.items()
    }


def write(folder: str, name: str, content: Any) -> None:
    """Writes a file of JSON; NaN and infinities are null."""
    with fileio.open(os.path.join(folder, name), "w") as file:
        file.write(json.dumps(_no_nan(content), indent=2, sort_keys=True, allow_nan=False))


def _no_nan(content: Any) -> Any:
    """The content with null for NaN and infinities, which JSON does not have."""
    if isinstance(content, dict):
        return {key: _no_nan(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_no_nan(value) for value in content]
    return None if isinstance(content, float) and not np.isfinite(content) else content
