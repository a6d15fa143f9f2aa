"""TFX's own views of a run as HTML files: TFDV's statistics and TFMA's metrics by slice.

Both need a network when they are opened: TFDV loads Facets from the web, TFMA its charts.
"""

import importlib.resources
import json
import math
import os
from typing import Any

from tfx.dsl.io import fileio

from pipeline.evaluation import eval_config
from transforms import features

TFDV, TFMA = "tfdv.html", "tfma.html"
_PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>{body}</html>\n'


def write(statistics: str, evaluation: str, folder: str) -> None:
    """Writes both views into a folder.

    Args:
      statistics: folder of StatisticsGen's artifact.
      evaluation: folder of the Evaluator's artifact.
      folder: where to.
    """
    for name, body in ((TFDV, tfdv_view(statistics)), (TFMA, tfma_view(evaluation))):
        with fileio.open(os.path.join(folder, name), "w") as file:
            file.write(_PAGE.format(title=name.removesuffix(".html").upper(), body=body))


def tfdv_view(statistics: str) -> str:
    """Facets with the statistics of train beside those of test, by TFDV."""
    import tensorflow_data_validation as tfdv
    from tensorflow_data_validation.utils import display_util

    train, test = (
        tfdv.load_stats_binary(os.path.join(statistics, f"Split-{split}", "FeatureStats.pb"))
        for split in (features.SPLITS[0], features.SPLITS[-1])
    )
    html = display_util.get_statistics_html(train, test, "train", "test")
    return str(html).replace('height="500px"', 'style="height: 95vh"')


def tfma_view(evaluation: str) -> str:
    """TFMA's table of metrics by slice, by its own web component."""
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.slicer import slicer_lib

    result = tfma.load_eval_result(evaluation, model_name=_model_name(evaluation))
    slices = [
        {"slice": slicer_lib.stringify_slice_key(key), "metrics": _scalars(metrics)}
        for key, metrics in result.slicing_metrics
    ]
    component = importlib.resources.files(tfma) / "static" / "vulcanized_tfma.js"
    script = component.read_text(encoding="utf-8").replace("</script", "<\\/script")
    data = json.dumps(slices).replace("<", "\\u003c")
    return (
        f'<script>{script}</script><tfma-nb-slicing-metrics id="view"></tfma-nb-slicing-metrics>'
        "<script>const view = document.getElementById('view'); "
        f"view.config = {{weightedExamplesColumn: 'rows'}}; view.data = {data};</script>"
    )


def _model_name(evaluation: str) -> str | None:
    """TFMA leaves the name out if there is one model."""
    compared = len(eval_config.load_metrics(evaluation)) > 1
    return eval_config.CANDIDATE if compared else None


def _scalars(metrics: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """The metrics by output and sub key that are finite numbers; the table shows no others."""
    return {
        output: {
            key: {
                name: value
                for name, value in of_key.items()
                if math.isfinite(float(value.get("doubleValue", "nan")))
            }
            for key, of_key in keys.items()
        }
        for output, keys in metrics.items()
    }
