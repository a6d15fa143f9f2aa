"""The report of a run: metrics, controls, verdict, the place of the model, and next commands.

`report.json` holds the metrics, `report.txt` is what the screen shows, and `index.html` is the page
for people (pipeline/local/page).
"""

import json
import os
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.io import fileio

from pipeline.configs import Settings, serving_name
from pipeline.evaluation import remarks
from pipeline.evaluation.controls import table
from pipeline.evaluation.eval_config import OVERALL
from pipeline.evaluation.retrieval import metrics as retrieval_metrics
from pipeline.ingest import summary
from pipeline.items import summary as item_summary
from pipeline.local import console, costs, legend, lineage, report_head
from pipeline.local.memory import Cost
from pipeline.local.page import content, pages, tfx_views
from pipeline.pipeline import pipeline_name
from transforms import features

_SHOWN = ("auc", "gauc", "log_loss", "calibration", "rows", "users")
_TF_SERVING = "2.19.1"  # of serving/docker-compose.yml
_SLICES = (
    OVERALL,
    *(f"{features.HISTORY_BUCKET}={bucket}" for bucket in features.HISTORY_BUCKETS),
    *(f"{features.TARGET_BUCKET}={bucket}" for bucket in features.TARGET_BUCKETS),
)


def tell(
    connection: metadata_store_pb2.ConnectionConfig,
    settings: Settings,
    output: str,
    served: str,
    generated: bool,
    measured: dict[str, Cost],
) -> int:
    """Prints and writes the report of a pipeline's last run under `output/report`.

    Args:
      connection: the metadata store.
      settings: of the run.
      output: output folder of the run.
      served: the version that was served before the run; "0" without one.
      generated: whether the ratings were generated.
      measured: time and memory of the components that ran.

    Returns:
      the exit status: 0 if pushed or already served, 3 if refused.
    """
    name = serving_name(settings)
    costs.record(connection, pipeline_name(settings), measured)
    steps = lineage.last_run(connection, pipeline_name(settings))
    evaluation = steps["Evaluator"].uri("evaluation")
    report: dict[str, Any] = {"run": report_head.head(settings, generated, steps["Trainer"])}
    for part in ("metrics", "controls", "catalogue", "verdict"):
        report[part] = _read(os.path.join(evaluation, f"{part}.json"))
    report["infra_check"] = _read(os.path.join(steps["InfraCheck"].uri("blessing"), "verdict.json"))
    report["ingestion"] = _read(
        os.path.join(steps["RatingsExampleGen"].uri("examples"), "report.json")
    )
    if items := steps.get("ItemTable"):
        report["items"] = _read(os.path.join(items.uri("item_table"), "report.json"))
    pushed = steps["Pusher"]
    where = pushed.text("pushed_model", "pushed_destination")
    report["pushed"] = where if pushed.number("pushed_model", "pushed") else None

    folder = os.path.join(output, "report")
    lines = [*_lines(report), *outcome(report["pushed"], served)]
    lines += ["", f"Page:    {os.path.join(folder, 'index.html')}"]
    lines += ["", "Next:", *_next(name, output, where if report["pushed"] else "")]
    took = costs.read(connection, pipeline_name(settings))
    shown = content.gather(settings, report, steps, took, served)
    fileio.makedirs(folder)
    content.save(shown, output)
    tfx_views.write(steps["StatisticsGen"].uri("statistics"), evaluation, folder)
    for file, text in (
        ("report.json", json.dumps(report, indent=1)),
        ("report.txt", "\n".join(lines)),
        ("index.html", pages.of_run(shown)),
    ):
        with fileio.open(os.path.join(folder, file), "w") as out:
            out.write(text + "\n")
    console.say()
    for line in lines:
        console.say(line)
    return console.PUSHED if report["pushed"] else console.REFUSED


def outcome(pushed: str | None, served: str) -> list[str]:
    """What a run did to the served model, in words.

    Args:
      pushed: folder of the version that holds the model of the run; None if it was refused.
      served: the version that was served before the run; "0" without one.
    """
    if pushed:
        known = os.path.basename(pushed) == served
        return ["", f"{'Served already' if known else 'Pushed'}:  {pushed}"]
    if served != "0":
        return ["Nothing was pushed; the version that was served before still is."]
    return ["Nothing was pushed, and nothing is served."]


def _read(path: str) -> Any:
    with fileio.open(path, "r") as file:
        return json.load(file)


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [*report_head.lines(report["run"]), "", *summary.lines(report["ingestion"])]
    if "items" in report:
        lines += item_summary.lines(report["items"])
    lines += [*remarks.lines(report["metrics"], report["ingestion"]), ""]
    lines += [f"{'Test split':<28}" + "".join(f"{name:>12}" for name in _SHOWN)]
    for slice_name in _SLICES:
        if values := report["metrics"].get(slice_name):
            numbers = "".join(f"{_number(values.get(name)):>12}" for name in _SHOWN)
            lines.append(f"  {slice_name:<26}{numbers}")
    lines += ["", *table(report["controls"]).splitlines(), ""]
    if report["catalogue"]:
        lines += [*retrieval_metrics.table(report["catalogue"]).splitlines(), ""]
    lines += [*legend.lines(report), ""]
    lines.append(f"Gate:    {report['verdict']['reason'].replace('; ', f';{chr(10)}         ')}")
    check = report["infra_check"]
    if check["blessed"]:
        lines.append("Check:   the export loads in a fresh process and answers as trained.")
    else:
        lines.append(f"Check:   refused, {check['reason']}.")
    return lines


def _number(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None else f"{value:.4f}"


def _next(name: str, output: str, pushed: str) -> list[str]:
    where = console.make_argument(output)
    if not pushed:
        return [
            f"  make board{where}",
            "  What to do after a refusal: docs/faq.md, `It got refused. What now?`",
        ]
    served = os.path.dirname(pushed)
    return [
        f"  make serve{where}",
        f"  make recommend ID=USER{where}",
        f"  make board{where}",
        f"  docker run -p 8501:8501 -v {served}:/models/{name} -e MODEL_NAME={name} "
        f"tensorflow/serving:{_TF_SERVING}",
    ]
