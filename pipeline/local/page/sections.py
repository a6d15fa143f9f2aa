"""The sections of a page about one run."""

import os
from collections.abc import Mapping
from typing import Any

from pipeline.evaluation import remarks
from pipeline.evaluation.eval_config import BASELINE, CANDIDATE, OVERALL
from pipeline.evaluation.gate import FAILED
from pipeline.local.page.blocks import Links, Note, Section, Table, Users
from pipeline.local.page.content import Content
from pipeline.local.page.figures import attention as attention_figures
from pipeline.local.page.figures import catalogue as catalogue_figures
from pipeline.local.page.figures import costs as cost_figures
from pipeline.local.page.figures import data as data_figures
from pipeline.local.page.figures import metrics as metric_figures
from pipeline.local.page.figures import scores as score_figures

THIS, SERVED = "this model", "served model"
_VIEWS = (
    ("tfdv.html", "TFDV: statistics of the Examples, in Facets"),
    ("tfma.html", "TFMA: metrics by slice"),
)


def sections(content: Content) -> list[Section]:
    """All sections but the verdict, which is the head of the page."""
    return [
        data(content),
        metrics(content),
        catalogue(content),
        controls(content),
        scores(content),
        training(content),
        attention(content),
        users(content),
        cost(content),
        settings(content),
    ]


def models(content: Content) -> dict[str, Any]:
    """Metrics by slice of this model, and of the served one if both were compared."""
    found = content["report"]["metrics"]
    result = {THIS: found}
    served = {key: of[BASELINE] for key, of in found.items() if BASELINE in of}
    return result | ({SERVED: served} if served else {})


def slice_names(content: Content) -> dict[str, str]:
    """What each slice is called."""
    return metric_figures.slice_names(content["report"]["ingestion"]["history_buckets"])


def checks(content: Content) -> Table:
    """The rules of the gate."""
    names = slice_names(content)
    rows = [
        [
            check["name"].replace("_", " "),
            names.get(check["slice"], check["slice"]),
            check["value"],
            check["bound"],
            check["outcome"],
            check["reason"],
        ]
        for check in content["report"]["verdict"]["checks"]
    ]
    infra = content["report"]["infra_check"]
    outcome = "passed" if infra["blessed"] else "failed"
    said = infra.get("reason") or "the export loads in a fresh process and answers as trained"
    rows.append(["export", "", None, None, outcome, said])
    columns = ["rule", "rows", "value", "bound", "outcome", "in words"]
    return Table(f"Every rule ({len(rows)})", columns, rows, folded=True)


def tiles(content: Content) -> list[dict[str, Any]]:
    """The metrics of all rows: name, value, interval, and the difference to the served model."""
    of_model = models(content)
    names = {**{name: title for name, title, *_ in metric_figures.METRICS}, "log_loss": "Log loss"}
    result = []
    for name in ("auc", "gauc", "log_loss", "calibration"):
        own = of_model[THIS][OVERALL]
        low, high = metric_figures.interval(own, name)
        served = of_model.get(SERVED, {}).get(OVERALL, {}).get(name)
        known = served is not None and own[name] is not None
        result.append(
            {
                "name": names[name],
                "value": own[name],
                "interval": None if low is None else f"{low:.4f} to {high:.4f}",
                "served": f"{own[name] - served:+.4f} against the served model" if known else "",
            }
        )
    return result


def data(content: Content) -> Section:
    """What was read and sampled."""
    report = content["report"]
    ingestion, histograms = report["ingestion"], content["histograms"]
    begins = {name: ingestion[f"{name}_begins"] for name in ("eval", "test")}
    blocks: list[Any] = [Note(line) for line in remarks.lines(report["metrics"], ingestion)]
    blocks += [data_figures.counts(ingestion), data_figures.splits(ingestion)]
    if ingestion["bad_lines"]:
        blocks.append(data_figures.bad_lines(ingestion, content["bad_lines"]))
    else:
        blocks.append(Note("No line was bad."))
    blocks += [
        data_figures.history_lengths(histograms["history_lengths"]),
        data_figures.events_by_day(histograms["events_by_day"], begins),
        data_figures.item_frequency(histograms["item_frequency"]),
    ]
    if "items" in report:
        blocks.append(data_figures.coverage(report["items"]))
    else:
        blocks.append(Note("No catalogue: items are ids alone, and have no attributes."))
    columns = ("feature", "split", "rows", "missing", "distinct", "mean", "min", "median", "max")
    rows = [[row.get(name) for name in columns] for row in content["statistics"]]
    blocks.append(Table("Statistics of the Examples, by StatisticsGen", columns, rows, folded=True))
    return Section("data", "Data", blocks)


def metrics(content: Content) -> Section:
    """Metrics by slice, beside the served model's."""
    of_model, names = models(content), slice_names(content)
    blocks: list[Any] = []
    if SERVED not in of_model:
        blocks.append(Note("No served model was compared, so this model stands alone."))
    blocks += metric_figures.by_slice(of_model, names)
    blocks.append(metric_figures.all_metrics(of_model, names))
    return Section("metrics", "Metrics by slice", blocks)


def catalogue(content: Content) -> Section:
    """Metrics over the whole catalogue, for a model with a first stage."""
    measured = content["report"]["catalogue"]
    if measured is None:
        said = "This model has no first stage, so it cannot search the catalogue."
        return Section("catalogue", "Whole catalogue", [Note(said)])
    return Section("catalogue", "Whole catalogue", catalogue_figures.catalogue(measured))


def controls(content: Content) -> Section:
    """The controls."""
    figure = metric_figures.control_figure(content["report"]["controls"])
    return Section("controls", "Controls", [figure])


def scores(content: Content) -> Section:
    """ROC, calibration and histograms of scores."""
    curves = content["curves"]
    named = {THIS: curves[CANDIDATE]}
    if BASELINE in curves:
        named[SERVED] = curves[BASELINE]
    blocks = [
        score_figures.roc(named),
        score_figures.calibration(named),
        *(score_figures.histogram(name, curve) for name, curve in named.items()),
    ]
    return Section("scores", "Scores", blocks)


def training(content: Content) -> Section:
    """Learning curves."""
    run = content["report"]["run"]
    blocks = [
        Note(f"{run['ending'][0].upper() + run['ending'][1:]}."),
        *score_figures.learning({"": run}),
    ]
    return Section("training", "Training", blocks)


def attention(content: Content) -> Section:
    """Attention by position and age."""
    measured = content["diagnostics"]["attention"]
    if measured is None:
        blocks: list[Any] = [Note("This model has no attention weights over the history.")]
    else:
        blocks = attention_figures.attention(measured)
    return Section("attention", "Attention", blocks)


def users(content: Content) -> Section:
    """The users where the model is most wrong and most right."""
    measured = content["diagnostics"]["users"]
    if measured is None:
        return Section("users", "Users", [Note("No user of test was scored.")])
    rows = content["diagnostics"]["rows"]
    said = (
        f"{measured['users']:,} users of test with {rows:,} rows were looked at, and "
        f"{measured['considered']:,} of them have enough rows. A user is as wrong as the mean log "
        "loss of the user's rows. The history is that of the row with the largest loss (or the "
        "smallest), newest event first. A number is the weight of an event in a pass, and 1 is the "
        "average event."
    )
    blocks: list[Any] = [Note(said)]
    for kind, title in (("wrong", "Most wrong"), ("right", "Most right")):
        blocks.append(Users(title, measured[kind]))
    return Section("users", "Users", blocks)


def cost(content: Content) -> Section:
    """Time and memory by component."""
    return Section("cost", "Time and memory", cost_figures.costs(content["costs"]))


def settings(content: Content) -> Section:
    """Settings, versions, TFX's own views, and the command that makes the run again."""
    run = content["report"]["run"]
    changed = {*run["settings"], *(("model",) if "MODEL=" in content["command"] else ())}
    rows = [
        [name, _said(value), "yes" if name in changed else ""]
        for name, value in content["settings"].items()
    ]
    recipe = {**run["config"], **run["recipe"]}
    return Section(
        "settings",
        "Settings and versions",
        [
            Note("This command makes the run again, from the folder of the project:"),
            Note(content["command"], code=True),
            Table("Versions", ["", ""], list(run["versions"].items())),
            Table("Settings of the run", ["setting", "value", "changed"], rows, folded=True),
            Table(
                "Model and recipe as trained",
                ["option", "value"],
                [[name, _said(value)] for name, value in recipe.items()],
                folded=True,
            ),
            Links("TFX's own views, which load parts of them from the web", _VIEWS),
        ],
    )


def _said(value: Any) -> str:
    if value is None:
        return "from the preset"
    return str(value).lower() if isinstance(value, bool) else str(value)


def verdict(content: Content) -> Mapping[str, Any]:
    """The head of the page: whether and where the model was pushed, and why not."""
    report = content["report"]
    pushed, infra = report["pushed"], report["infra_check"]
    failed = [
        check["reason"] for check in report["verdict"]["checks"] if check["outcome"] == FAILED
    ]
    if not infra["blessed"]:
        failed.append(f"the check of the export: {infra['reason']}")
    if pushed:
        word = "Served already" if os.path.basename(pushed) == content["served"] else "Pushed"
    else:
        word = "Refused"
    return {"blessed": bool(pushed), "word": word, "where": pushed, "failed": failed}
