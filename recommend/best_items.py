"""Asks a model for the best items: of its whole catalogue, or of candidates."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from recommend.connection import Predict
from transforms import features

# Candidates in a request. `explain` returns a weight for each event and candidate.
_BATCH = {"rank": 1_000, "explain": 20}


@dataclasses.dataclass(frozen=True)
class BestItems:
    """Items, best first.

    Attributes:
      items: raw ids.
      scores: probabilities.
      places: in the first stage, from 1; 0 without one.
      of: how many items were ranked, in words.
    """

    items: list[bytes]
    scores: np.ndarray
    places: np.ndarray
    of: str


def of_catalogue(
    predict: Predict, history: Any, top: int, rated: frozenset[bytes], only: Sequence[str] = ()
) -> BestItems:
    """The best items of the catalogue that the user has not rated.

    Args:
      predict: asks a model with the signature `recommend_filtered`.
      history: a `UserHistory`.
      top: how many.
      rated: ids that are left out.
      only: values such as `category=Hair Care`, one of which an item must have; () for all items.
    """
    others = sorted(rated.difference(history.items))
    inputs = _inputs(history) | {
        "k": np.array([top], np.int64),
        "exclude_history": np.array([True]),
        "exclude": np.array([others], object).reshape(1, -1),
        "only_items": np.zeros((1, 0), object),
        "only_values": np.array([[text.encode() for text in only]], object).reshape(1, -1),
    }
    answer = {name: value[0] for name, value in predict("recommend_filtered", inputs).items()}
    found = answer["items"] != b""
    words = "the catalogue" + (f" with {' or '.join(only)}" if only else "")
    return BestItems(
        answer["items"][found].tolist(),
        answer["probabilities"][found],
        answer["first_stage"][found],
        f"the best of {words}",
    )


def of_candidates(
    predict: Predict, history: Any, top: int, candidates: Sequence[bytes]
) -> BestItems:
    """The best of some candidates, by the signature `rank`."""
    answers = _answers(predict, "rank", history, candidates)
    scores = np.concatenate([answer["scores"][0] for answer in answers])
    best = np.argsort(-scores, kind="stable")[:top]
    return BestItems(
        [candidates[index] for index in best],
        scores[best],
        np.zeros(len(best), np.int64),
        f"{len(candidates):,} items",
    )


def explained(
    predict: Predict, history: Any, items: Sequence[bytes]
) -> tuple[np.ndarray, dict[bytes, bytes]]:
    """Reasons for K items, by the signature `explain`.

    Returns:
      weights `(N, K, H)` of N passes over the history, and what the model knows of the items and
      events, as texts by id; none if the model has no attributes.
    """
    answers = _answers(predict, "explain", history, items)
    known: dict[bytes, bytes] = {}
    for number, answer in enumerate(answers):
        if "history_attributes" in answer:
            batch = items[number * _BATCH["explain"] :]
            known |= zip(batch, answer["candidate_attributes"][0].tolist(), strict=False)
            known |= zip(history.items, answer["history_attributes"][0].tolist(), strict=True)
    return np.concatenate([answer["attention"][0] for answer in answers], axis=1), known


def _answers(
    predict: Predict, signature: str, history: Any, items: Sequence[bytes]
) -> list[dict[str, np.ndarray]]:
    size = _BATCH[signature]
    batches = [items[i : i + size] for i in range(0, len(items), size)]
    requests = [_inputs(history) | {"candidates": np.array([each], object)} for each in batches]
    return [predict(signature, request) for request in requests]


def _inputs(history: Any) -> dict[str, np.ndarray]:
    return {
        features.HISTORY_ITEM: np.array([history.items], object).reshape(1, -1),
        features.HISTORY_TIME: np.array([history.times], np.int64),
        features.HISTORY_LENGTH: np.array([len(history.items)], np.int64),
        "request_time": np.array([history.newest], np.int64),
        **{name: np.array([values], object) for name, values in history.values.items()},
    }
