"""The table of models: a name, the config it stands for, and its recipe.

A new model is one file, with a subclass of `ModelConfig` and its layer, and one
line here. Importing this table imports no TensorFlow; resolving a row does.
"""

import dataclasses
import difflib
import importlib
from collections.abc import Mapping
from typing import Any

from model.configs import ModelConfig, TrainingConfig, parse_options


@dataclasses.dataclass(frozen=True)
class Preset:
    """One row: its name in print, the config class, and what differs from its defaults."""

    label: str
    config: str  # module:class
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def config_class(self) -> type[ModelConfig]:
        """The class that `config` names; imports its module."""
        module, _, name = self.config.partition(":")
        return getattr(importlib.import_module(module), name)


_IMN = "model.imn:IMNConfig"
# Beyond the paper: 3P+ that reads a GRU's states too, on histories with events left out.
_STATES = {"passes": 3, "enhancement": True, "states": True}
_SEED_OPTIONS = {
    "embedding_dim": 10,
    "head_product": False,
    "gru_start": "random",
    "normalization": "sigmoid",
    "batch_norm": True,
    "dropout": 0.2,
    "l2": 1e-6,
}
# One rate for all, Keras' own scale of first values, no extra candidates.
_SEED_RECIPE = {
    "learning_rate": 1e-5,
    "table_learning_rate": 1e-5,
    "table_initial_scale": 0.03,
    "extra_candidates": 0,
}

PRESETS = {
    "youtube_dnn": Preset("YouTube DNN", "model.baselines.youtube_dnn:YoutubeDNNConfig"),
    "din": Preset("DIN", "model.baselines.din:DINConfig", recipe={"table_l2": 0.01}),
    "dien": Preset("DIEN", "model.baselines.dien:DIENConfig"),
    "sasrec": Preset("SASRec", "model.baselines.sasrec:SASRecConfig"),
    "mimn": Preset("MIMN", "model.baselines.mimn:MIMNConfig"),
    "ubr4ctr": Preset("UBR4CTR", "model.baselines.ubr4ctr:UBR4CTRConfig"),
    "imn_2p": Preset("IMN 2P", _IMN, {"passes": 2, "enhancement": False}),
    "imn_3p": Preset("IMN 3P", _IMN, {"passes": 3, "enhancement": False}),
    "imn_3p_plus": Preset("IMN 3P+", _IMN, {"passes": 3, "enhancement": True}),
    "imn_states": Preset("IMN 3P+ with states", _IMN, _STATES, {"history_dropout": 1.0}),
    "seed": Preset(
        "IMN 3P+ with its authors' settings",
        _IMN,
        {"passes": 3, "enhancement": True} | _SEED_OPTIONS,
        _SEED_RECIPE,
    ),
}


def preset(model: str) -> Preset:
    """The row of a model.

    Raises:
      ValueError: for a name that is not in the table.
    """
    if model not in PRESETS:
        near = difflib.get_close_matches(model, PRESETS, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        raise ValueError(f"`model` must be one of {', '.join(PRESETS)}. Received: {model!r}.{hint}")
    return PRESETS[model]


def label(model: str) -> str:
    """The name of a row in print; a name that is not in the table stays as it is."""
    return PRESETS[model].label if model in PRESETS else model


def resolve(
    model: str, model_options: str = "", recipe: Mapping[str, Any] | None = None
) -> tuple[ModelConfig, TrainingConfig]:
    """The config and the recipe that a user's settings stand for.

    Args:
      model: a name of the table.
      model_options: fields of the model's config, as in `"passes=5,num_heads=2"`.
      recipe: fields of `TrainingConfig` that the user set.

    Raises:
      ValueError: naming the model, option or recipe field that is not allowed.
    """
    row = preset(model)
    config_class = row.config_class()
    try:
        given = parse_options(config_class, model_options)
        config = config_class(**{**row.options, **given})
    except ValueError as error:
        raise ValueError(f"`model_options` of {model}: {error}") from None
    known = [field.name for field in dataclasses.fields(TrainingConfig)]
    unknown = sorted(set(recipe or {}) - set(known))
    if unknown:
        raise ValueError(
            f"The recipe has no `{unknown[0]}`. Known: {', '.join(known)}. Received: {recipe!r}."
        )
    return config, TrainingConfig(**{**row.recipe, **(recipe or {})})
