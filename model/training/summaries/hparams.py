"""Settings of a training, for TensorBoard's tab HParams."""

from collections.abc import Mapping
from typing import Any

from tensorboard.plugins.hparams import api


def start(settings: Mapping[str, Any]) -> Any:
    """The summary that makes a run a row of the tab.

    The columns of metrics are the scalars of the same run. There is no summary of an experiment:
    with one, the tab would show the columns of the first model alone.

    Args:
      settings: by name; numbers, texts, booleans, or tuples of whole numbers.
    """
    return api.hparams_pb({name: _value(value) for name, value in settings.items()})


def _value(value: Any) -> Any:
    if isinstance(value, bool | int | float | str):
        return value
    return "x".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
