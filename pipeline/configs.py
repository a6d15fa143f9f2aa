"""Every setting of a run, in one frozen dataclass.

Defaults are below; the environment overrides a field as `IMN_<FIELD>`, so that
`make run`, `tfx run create` and a Kubeflow compilation are steered alike.
Example: `IMN_RATINGS=ratings_Books.csv IMN_MAX_HISTORY_LENGTH=200 make run`.
"""

import dataclasses
import difflib
import re
import shlex
import typing
from collections.abc import Mapping
from typing import Any

from model import presets
from model.configs import TrainingConfig
from pipeline.errors import InputError

PREFIX = "IMN_"
# The settings that change what ingestion writes, and so the key of TFX's cache.
INGESTION = (
    "layout",
    "columns",
    "separator",
    "max_history_length",
    "min_history_length",
    "shift",
    "max_windows_per_user",
    "max_targets_per_user",
    "negatives",
    "negatives_per_positive",
    "split",
    "eval_share",
    "test_share",
    "same_day",
    "min_rating",
    "max_bad_share",
    "sampling_seed",
)
RECIPE = tuple(field.name for field in dataclasses.fields(TrainingConfig))


class SettingsError(InputError):
    """A setting that no run can start from: which one, the rule, what came."""


def _choice(default: str, *allowed: str) -> Any:
    return dataclasses.field(default=default, metadata={"allowed": (default, *allowed)})


def _number(default: Any, low: float, high: float = float("inf")) -> Any:
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run does. Lengths count events, times are in seconds.

    Raises:
      SettingsError: at construction, for a value outside what is allowed.
    """

    # --- What is run -------------------------------------------------------
    ratings: str = ""  # file or glob of ratings; "" is generated sample data
    model: str = "imn_3p_plus"  # a preset of model/presets.py, or package.module:Config
    output: str = "runs"  # the folder under which a run writes everything

    # --- Ingestion ---------------------------------------------------------
    layout: str = _choice("auto", "2014", "2018", "header", "jsonl")
    columns: str = ""  # e.g. "user=uid,item=sku,time=at,rating=stars"; numbers without a header
    separator: str = ""  # between columns: "" is detected; e.g. ";", "::" or "tab"
    max_history_length: int = _number(100, 1, 100_000)  # L
    min_history_length: int = _number(1, 0)  # shortest history of a sample
    shift: int = _number(1, 1)  # events between two training targets of a user
    max_windows_per_user: int = _number(50, 1)  # training targets kept, newest first
    max_targets_per_user: int = _number(0, 0)  # in eval and in test, newest first; 0 keeps all
    negatives: str = _choice("matched", "uniform", "popularity")
    negatives_per_positive: int = _number(1, 1, 100)
    split: str = _choice("temporal", "leave_last", "user")
    eval_share: float = _number(0.1, 0.0, 0.9)  # of time, of events or of users
    test_share: float = _number(0.1, 0.0, 0.9)
    same_day: str = _choice("include", "exclude")  # of the target's day, in its history
    min_rating: float = _number(0.0, 0.0)  # ratings below are no events
    max_bad_share: float = _number(0.01, 0.0, 1.0)  # of lines, before a run stops
    sampling_seed: int = _number(0, 0)  # ties, user splits, negatives

    # --- Validation and Transform ------------------------------------------
    statistics_rows: int = _number(100_000, 1)  # rows a split; more are sampled
    min_item_count: int = _number(1, 1)  # occurrences in training samples
    max_vocabulary_size: int = _number(5_000_000, 1)
    oov_buckets: int = _number(8, 1)  # ids shared by items outside the vocabulary
    time_unit: int = _number(86_400, 1)  # seconds in the first bucket of elapsed time

    # --- Model and training ("" or None: as the preset says) -----------------
    use_time: bool = True  # off where times carry no more than the order
    use_position: bool = True
    model_options: str = ""  # e.g. "passes=5,num_heads=2": fields of the model's config
    epochs: int | None = _number(None, 1)
    batch_size: int | None = _number(None, 2)
    learning_rate: float | None = _number(None, 0.0)
    table_learning_rate: float | None = _number(None, 0.0)  # of the embedding tables
    table_initial_scale: float | None = _number(None, 0.0)  # their standard deviation
    extra_candidates: int | None = _number(None, 0)  # batch targets in the softmax loss
    table_l2: float | None = _number(None, 0.0)  # decay of the batch's items over their counts
    history_dropout: float | None = _number(None, 0.0, 1.0)  # highest share left out in training
    evaluations_per_epoch: int | None = _number(None, 1)
    patience: int | None = _number(None, 1)  # evaluations without a better AUC
    distribute: str = _choice("none", "mirrored", "multi_worker")  # tf.distribute
    training_seed: int = _number(0, 0, 2**32 - 1)

    # --- The gate ------------------------------------------------------------
    min_auc: float = _number(0.55, 0.0, 1.0)
    min_gauc: float = _number(0.55, 0.0, 1.0)
    tolerance: float = _number(0.002, 0.0, 1.0)  # AUC a candidate may lose at most
    min_test_users: int = _number(30, 1)  # fewer in test: not judged, and nothing is pushed
    min_test_rows: int = _number(200, 1)
    allow_uncompared: bool = False  # replace a served model that cannot be compared
    min_long_users: int = _number(200, 1)  # fewer long users in test: not judged

    # --- Where it runs ---------------------------------------------------------
    beam_args: str = ""  # options for every Beam job, as on a command line
    metadata: str = (
        ""  # "" is SQLite, or the cluster's own; or mysql://user:password@host:port/database
    )
    image: str = "imn:latest"  # container of Kubeflow's steps
    storage_root: str = "/mnt/imn"  # where Kubeflow's steps write: a bucket or a folder
    volume_claim: str = "imn"  # the claim of the volume mounted there, if it is a folder

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        if not self.output or re.search(r"[*?\[\]]", self.output):
            raise SettingsError(
                "`output` must name a folder, without *, ?, [ or ], which TensorFlow takes for a "
                f"pattern. Received: {self.output!r}."
            )
        try:
            shlex.split(self.beam_args)
        except ValueError as error:
            raise SettingsError(
                f"`beam_args` must be a command line ({error}). Received: {self.beam_args!r}."
            ) from None
        if self.eval_share <= 0 or self.test_share <= 0:
            raise SettingsError(
                "`eval_share` and `test_share` must be above 0: early stopping reads one, the "
                f"gate the other. Received: {self.eval_share} and {self.test_share}."
            )
        if self.eval_share + self.test_share >= 1:
            raise SettingsError(
                "`eval_share` + `test_share` must stay below 1, so that training keeps a share. "
                f"Received: {self.eval_share} + {self.test_share}."
            )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Settings from the `IMN_<FIELD>` variables of an environment.

        Raises:
          SettingsError: for an unknown name or a value that cannot be read.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        values = {}
        for name, text in environ.items():
            if not name.startswith(PREFIX):
                continue
            key = name[len(PREFIX) :].lower()
            if key not in fields:
                near = difflib.get_close_matches(key, fields, n=1)
                hint = f"Did you mean {PREFIX}{near[0].upper()}?" if near else "See README.md."
                raise SettingsError(f"`{name}` is not a setting. {hint}")
            values[key] = _parse(fields[key], text)
        return cls(**values)

    def recipe(self) -> dict[str, Any]:
        """The fields of the recipe that are set; the preset has the others."""
        values = {name: getattr(self, name) for name in RECIPE}
        return {name: value for name, value in values.items() if value is not None}


def serving_name(settings: Settings) -> str:
    """The model's name for servers: `imn` for every preset of IMN, else `model` as one word."""
    name = re.sub(r"\W+", "_", settings.model)  # a colon would end the name in a REST path
    is_imn = name == settings.model and (name == "seed" or name.startswith("imn_"))
    return "imn" if is_imn else name


def check_model(settings: Settings) -> None:
    """Finds a model that does not exist before TFX and TensorFlow are loaded.

    Raises:
      SettingsError: if the model does not exist.
    """
    try:
        presets.preset(settings.model)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _types(field: dataclasses.Field) -> tuple[type, bool]:
    """The type of a field's value, and whether it may be None."""
    members = [t for t in typing.get_args(field.type) if t is not type(None)]
    return (members[0], True) if members else (typing.cast(type, field.type), False)


def _parse(field: dataclasses.Field, text: str) -> Any:
    kind, optional = _types(field)
    text = text.strip()
    if optional and text == "":
        return None
    if kind is bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off"):
            return False
        raise SettingsError(f"`{field.name}` must be true or false. Received: {text!r}.")
    try:
        return kind(text)
    except ValueError:
        raise SettingsError(
            f"`{field.name}` must be {'a whole number' if kind is int else 'a number'}. "
            f"Received: {text!r}."
        ) from None


def _check(field: dataclasses.Field, value: Any) -> None:
    kind, optional = _types(field)
    if value is None and optional:
        return
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise SettingsError(f"`{field.name}` must be of type {kind.__name__}. Received: {value!r}.")
    allowed = field.metadata.get("allowed")
    if allowed and value not in allowed:
        raise SettingsError(
            f"`{field.name}` must be one of {', '.join(allowed)}. Received: {value!r}."
        )
    if "low" in field.metadata and not field.metadata["low"] <= value <= field.metadata["high"]:
        low, high = field.metadata["low"], field.metadata["high"]
        rule = f"at least {low}" if high == float("inf") else f"between {low} and {high}"
        raise SettingsError(f"`{field.name}` must be {rule}. Received: {value!r}.")
