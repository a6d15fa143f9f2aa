"""The legend of a report: what each column means, which direction is better, and what chance is."""

import textwrap
from typing import Any

from pipeline.evaluation.eval_config import OVERALL
from transforms import features

_INDENT = 18
_WIDTH = 100


def lines(report: dict[str, Any]) -> list[str]:
    """The legend as lines, with the bounds and the chance levels of this run.

    Args:
      report: the content of `report.json`.
    """
    metrics, controls, catalogue = report["metrics"], report["controls"], report["catalogue"]
    bounds = report["ingestion"]["history_buckets"]
    medium, long = bounds["medium_from"], bounds["long_from"]
    constant = metrics[OVERALL]["constant_log_loss"]
    chance = "-" if constant is None else f"{constant:.4f}"
    rows = {
        "auc": "AUC: the probability that a positive row scores above a negative one. Higher is "
        "better; chance is .5.",
        "gauc": "group AUC (GAUC): the mean of each user's own AUC, weighted by the user's rows. "
        "Higher is better; chance is .5.",
        "log_loss": f"cross-entropy in nats. Lower is better; a constant score has {chance}. The "
        "training loss of the progress lines is another quantity: it adds the recipe's other "
        "losses.",
        "calibration": "sum of scores / sum of labels. 1 is right; above 1 the scores are too "
        "high.",
        "rows, users": "of the test split, for each slice.",
        features.HISTORY_BUCKET: "events of the user before the last target of the split: short "
        f"below {medium}, medium from {medium}, long from {long}.",
        features.TARGET_BUCKET: "how often the target occurs in training; 0 is never.",
        "controls": "baselines without the user's history, or with another user's. Near .5, the "
        "samples do not leak. The two about attributes do see the history: what a model must beat, "
        "and where it falls to without them. `the model itself` is there to compare with: rows "
        "with the model use "
        f"{controls['model_rows']:,} of {metrics[OVERALL]['rows']:,} test rows.",
    }
    if catalogue:
        rows["whole catalogue"] = (
            f"each of {catalogue['rows']:,} positives asks for the best of all items, without "
            "those of its history. recall@K and hit@10: how often the item that came next is among "
            "the first K. ndcg@10 and mrr: how far up, 1 is first. coverage@10: share of the items "
            "that are in some answer. popular@10: share of the answers that is among the "
            f"{catalogue['popular_items']:,} most frequent items of training; of what users chose "
            f"it is {catalogue['popular_targets']:.4f}."
        )
    text = [f"{name:<{_INDENT - 2}}{meaning}" for name, meaning in rows.items()]
    return ["Legend", *(line for row in text for line in _wrapped(row))]


def _wrapped(row: str) -> list[str]:
    return textwrap.wrap(
        row, _WIDTH, initial_indent="  ", subsequent_indent=" " * _INDENT, break_on_hyphens=False
    )
