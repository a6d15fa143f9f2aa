"""The presets: names for a model config with options and a recipe.

A new model is one file, with a subclass of `ModelConfig` and its layer, and one line in `PRESETS`.
A model outside this repository needs no line: its name is `package.module:Config`. Importing this
module does not import TensorFlow; resolving a preset does.
"""

import dataclasses
import difflib
import importlib
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import Any

from model.configs import ModelConfig, TrainingConfig, parse_options


@dataclasses.dataclass(frozen=True)
class Preset:
    """One model of the table.

    Attributes:
      label: its name in tables and plots.
      config: its config class, as `package.module:Class`.
      options: fields of the config that differ from the class's defaults.
      recipe: fields of `TrainingConfig` that differ from the shared defaults.
    """

    label: str
    config: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def config_class(self) -> type[ModelConfig]:
        """Imports the class that `config` names.

        Raises:
          ValueError: if the module cannot be imported, or has no subclass of `ModelConfig` of
            this name.
        """
        module_name, _, name = self.config.partition(":")
        try:
            module = importlib.import_module(module_name)
        except Exception as error:  # whatever the user's module raises at its import
            raise ValueError(
                f"`model` must name a module that can be imported. Received: {self.config!r}; its "
                f"import failed with {type(error).__name__}: {error}. Install the package, or add "
                "its folder to PYTHONPATH."
            ) from error
        config_class = getattr(module, name, None)
        if not (isinstance(config_class, type) and issubclass(config_class, ModelConfig)):
            configs = [
                key
                for key, value in vars(module).items()
                if isinstance(value, type) and issubclass(value, ModelConfig)
                if value.__module__ == module.__name__
            ]
            raise ValueError(
                "`model` must name a subclass of `model.configs.ModelConfig`. Received: "
                f"{self.config!r}. The module defines {', '.join(configs) or 'none'}."
            )
        return config_class

    def source_files(self) -> list[pathlib.Path]:
        """The module's file, with all modules of its package if it lies in one.

        Raises:
          ValueError: as `config_class`.
        """
        module = sys.modules[self.config_class().__module__]
        file = pathlib.Path(str(module.__file__))
        return sorted(file.parent.glob("*.py")) if module.__package__ else [file]


_IMN = "model.imn:IMNConfig"
# Beyond the paper: 3P+ that also reads the states of a GRU, trained with history dropout.
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
# The same learning rate for all variables, Keras' initial scale, no extra candidates.
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
    """The preset of this name; a name `package.module:Config` is a preset without options.

    Raises:
      ValueError: if the name is neither in the table nor of this form.
    """
    if model in PRESETS:
        return PRESETS[model]
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", model):
        return Preset(model, model)
    near = difflib.get_close_matches(model, PRESETS, n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    raise ValueError(
        f"`model` must be one of {', '.join(PRESETS)}, or package.module:Config for a model of "
        f"your own. Received: {model!r}.{hint}"
    )


def label(model: str) -> str:
    """The name of a model in tables and plots; a name that is not in the table stays as it is."""
    return PRESETS[model].label if model in PRESETS else model


def resolve(
    model: str, model_options: str = "", recipe: Mapping[str, Any] | None = None
) -> tuple[ModelConfig, TrainingConfig]:
    """Config and recipe for a user's settings.

    Args:
      model: a preset, or `package.module:Config`.
      model_options: fields of the model's config, e.g. `"passes=5,num_heads=2"`.
      recipe: fields of `TrainingConfig` that the user set.

    Raises:
      ValueError: for an unknown model, option or recipe field, or a value out of range.
    """
    row = preset(model)
    config_class = row.config_class()
    try:
        options = parse_options(config_class, model_options)
        config = config_class(**{**row.options, **options})
    except ValueError as error:
        raise ValueError(f"`model_options` of {model}: {error}") from None
    known = [field.name for field in dataclasses.fields(TrainingConfig)]
    unknown = sorted(set(recipe or {}) - set(known))
    if unknown:
        raise ValueError(
            f"`{unknown[0]}` is not a field of the recipe. Known: {', '.join(known)}. "
            f"Received: {recipe!r}."
        )
    return config, TrainingConfig(**{**row.recipe, **(recipe or {})})
