"""What limits the trust in a run's metrics, in lines of text for its report."""

from typing import Any

from pipeline.evaluation.eval_config import OVERALL

_LARGE_SHARE = 0.1
_FEW_EVAL_USERS, _FEW_EVAL_ROWS = 30, 200


def lines(metrics: dict[str, Any], ingestion: dict[str, Any]) -> list[str]:
    """One line for each thing that looks wrong, or that a reader must know; often none.

    Args:
      metrics: the content of `metrics.json`.
      ingestion: the content of ingestion's `report.json`.
    """
    result = []
    test = metrics[OVERALL]
    if test["largest_user_share"] > _LARGE_SHARE:
        result.append(
            f"Look: one user has {100 * test['largest_user_share']:.0f} % of the test rows, and "
            "the metrics depend on this user. IMN_MAX_TARGETS_PER_USER caps the targets of a user."
        )
    if test["share_of_users"] < 1:
        result.append(
            f"Sample: the test metrics are those of {100 * test['share_of_users']:.3g} % of the "
            "users, with all their rows, because test is large."
        )
    split = ingestion["splits"]["eval"]
    rows, users = split["samples"], split["users"]
    if users < _FEW_EVAL_USERS or rows < _FEW_EVAL_ROWS:
        result.append(
            f"Look: the eval split has {rows:,} rows of {users:,} users. Early stopping needs "
            f"{_FEW_EVAL_ROWS} of {_FEW_EVAL_USERS}: on fewer, chance decides which epoch is kept. "
            "Raise IMN_EVAL_SHARE, or give more ratings."
        )
    return result
