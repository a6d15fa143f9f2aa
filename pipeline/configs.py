"""Settings of a run: one frozen dataclass a group, all groups together in `Settings`.

Defaults are below. The environment overrides a field as `IMN_<FIELD>`, for `make run`,
`tfx run create` and a Kubeflow compilation alike.
Example: `IMN_RATINGS=ratings_Books.csv IMN_MAX_HISTORY_LENGTH=200 make run`.

A component gets its whole group (`settings.group(Ingestion)`), so a new field always reaches it
and its cache key.
"""

import dataclasses
import re
import shlex
from collections.abc import Mapping
from typing import Any, TypeVar

from model import presets
from model.training import cluster
from pipeline.errors import InputError
from transforms import checked, features
from transforms.checked import Checked, choice, number

PREFIX = "IMN_"
_OF_SETUP = (f"{PREFIX}STACK",)  # chooses the set of versions in requirements/setup.sh
_Group = TypeVar("_Group", bound=Checked)


class SettingsError(InputError):
    """A setting is wrong. The message has its name, the rule and the value."""


@dataclasses.dataclass(frozen=True)
class Ingestion(Checked):
    """From ratings to Examples. Lengths count events."""

    ratings: str = ""  # file or glob of ratings; "" is generated sample data
    # Of the ratings; 2014 is user,item,rating,time, 2018 item,user,rating,time.
    layout: str = choice("auto", "2014", "2018", "header", "jsonl")
    columns: str = ""  # e.g. "user=uid,item=sku,time=at,rating=stars"; numbers without a header
    separator: str = ""  # between columns: "" is detected; e.g. ";", "::" or "tab"
    event_fields: str = ""  # columns that belong to an event, e.g. "rating,verified_purchase"
    max_history_length: int = number(100, 1, 100_000)  # L, events of a history
    min_history_length: int = number(1, 0)  # shortest history of a sample
    shift: int = number(1, 1)  # events between two training targets of a user
    max_windows_per_user: int = number(50, 1)  # training targets kept, newest first
    max_targets_per_user: int = number(0, 0)  # in eval and in test, newest first; 0 keeps all
    # Whence negatives are drawn: targets of other users at the same time, or all items.
    negatives: str = choice("matched", "uniform", "popularity")
    negatives_per_positive: int = number(1, 1, 100)  # in all splits
    split: str = choice("temporal", "leave_last", "user")  # by time, last events, or users
    eval_share: float = number(0.1, 0.0, 0.9)  # of time, of events or of users
    test_share: float = number(0.1, 0.0, 0.9)  # the same
    same_day: str = choice("include", "exclude")  # of the target's day, in its history
    min_rating: float = number(0.0, -1e9)  # ratings below are no events; some scales start below 0
    max_bad_share: float = number(0.01, 0.0, 1.0)  # of lines, or of rows of items
    sampling_seed: int = number(0, 0)  # ties, user splits, negatives


@dataclasses.dataclass(frozen=True)
class Items(Checked):
    """From a catalogue to the item table, with `max_bad_share` and `max_vocabulary_size`."""

    items: str = ""  # file or glob of items with attributes; "" is ids alone
    item_fields: str = ""  # e.g. "category,price:number"; "" chooses by the file


@dataclasses.dataclass(frozen=True)
class Validation(Checked):
    """Statistics of the Examples."""

    statistics_rows: int = number(100_000, 1)  # rows a split; more are sampled


@dataclasses.dataclass(frozen=True)
class Transform(Checked):
    """Vocabulary and buckets of TensorFlow Transform."""

    min_item_count: int = number(1, 1)  # training events of an item that has its own id
    max_vocabulary_size: int = number(5_000_000, 1)  # of items, and of values of a field
    oov_buckets: int = number(8, 1)  # ids shared by items outside the vocabulary
    time_unit: int = number(86_400, 1)  # seconds in the first bucket of elapsed time


@dataclasses.dataclass(frozen=True)
class Training(Checked):
    """The model and where it trains."""

    model: str = "imn_3p_plus"  # a preset of model/presets.py, or package.module:Config
    model_options: str = ""  # e.g. "passes=5,num_heads=2": fields of the model's config
    use_ids: bool = True  # off: items are known by their attributes alone
    use_time: bool = True  # off where times carry no more than the order
    use_position: bool = True  # positions count back from the newest event
    # Items of the first stage that `recommend` ranks; 0 trains no first stage.
    retrieval: int = number(500, 0, 10_000)
    distribute: str = choice("none", "mirrored", "multi_worker")  # tf.distribute
    workers: int = number(0, 0, 64)  # of multi_worker, on this machine; 0 takes TF_CONFIG
    training_seed: int = number(0, 0, 2**32 - 1)  # first values, order of batches, dropout
    profile_steps: int = number(0, 0, 1_000)  # steps that TensorFlow's profiler records


@dataclasses.dataclass(frozen=True)
class Recipe(Checked):
    """Fields of `model.configs.TrainingConfig`. None leaves the value to the preset."""

    epochs: int | None = number(None, 1)
    batch_size: int | None = number(None, 2)
    learning_rate: float | None = number(None, 0.0)
    table_learning_rate: float | None = number(None, 0.0)  # of the embedding tables
    table_initial_scale: float | None = number(None, 0.0)  # their standard deviation
    extra_candidates: int | None = number(None, 0)  # batch targets in the softmax loss
    table_l2: float | None = number(None, 0.0)  # decay of the batch's items over their counts
    history_dropout: float | None = number(None, 0.0, 1.0)  # highest share left out in training
    id_dropout: float | None = number(None, 0.0, 1.0)  # of items without an id in a batch
    evaluations_per_epoch: int | None = number(None, 1)
    patience: int | None = number(None, 1)  # evaluations without a better AUC


@dataclasses.dataclass(frozen=True)
class Gate(Checked):
    """What a model must reach to be pushed."""

    min_auc: float = number(0.55, 0.0, 1.0)  # at the lower end of the interval
    min_gauc: float = number(0.55, 0.0, 1.0)  # the same
    min_recall: float = number(0.0, 0.0, 1.0)  # recall@100 of the first stage; 0 does not judge
    tolerance: float = number(0.002, 0.0, 1.0)  # AUC a candidate may lose at most
    min_test_users: int = number(30, 1)  # fewer in test: not judged, and nothing is pushed
    min_test_rows: int = number(200, 1)  # the same
    allow_uncompared: bool = False  # replace a served model that cannot be compared
    min_long_users: int = number(200, 1)  # fewer long users in test: not judged
    require_calibrated: bool = True  # refuse a log loss that does not beat a constant score


@dataclasses.dataclass(frozen=True)
class Run(Checked):
    """Where a run computes and writes."""

    output: str = "runs"  # the folder under which a run writes everything
    beam_args: str = ""  # options for every Beam job, as on a command line
    metadata: str = (
        ""  # "" is SQLite, or the cluster's own; or mysql://user:password@host:port/database
    )


@dataclasses.dataclass(frozen=True)
class Kubeflow(Checked):
    """What a package for Kubeflow asks of the cluster."""

    image: str = "imn:latest"  # container of the steps
    storage_root: str = "/mnt/imn"  # where the steps write: a bucket or a folder
    volume_claim: str = "imn"  # the claim of the volume mounted there, if it is a folder
    metadata_secret: str = "imn-metadata"  # the secret whose key `password` opens `metadata`
    service_account: str = "pipeline-runner"  # of the steps
    node_selector: str = ""  # labels of the nodes that run steps, e.g. "pool=training,disk=ssd"
    pod_labels: str = ""  # of the run and its pods, e.g. "team=search"
    step_cpu: float = number(2.0, 0.1)  # cores that a large step may take
    step_memory: float = number(8.0, 1.0)  # GiB that a large step may take
    retries: int = number(2, 0, 10)  # of a step, the first after a minute, each wait doubled
    time_limit: int = number(86_400, 60)  # seconds of the whole run, waiting included


@dataclasses.dataclass(frozen=True)
class Settings(Kubeflow, Run, Gate, Recipe, Training, Transform, Validation, Items, Ingestion):
    """All settings of a run. Times are in seconds.

    Raises:
      SettingsError: at construction, for a value outside what is allowed.
    """

    def __post_init__(self) -> None:
        try:
            super().__post_init__()
            features.event_fields(self.event_fields)
        except ValueError as error:
            raise SettingsError(str(error)) from None
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
        if self.workers and self.distribute != "multi_worker":
            raise SettingsError(
                "`workers` must be 0 unless `distribute` is multi_worker. Received: "
                f"{self.workers} and {self.distribute!r}. Set IMN_DISTRIBUTE=multi_worker too."
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
        known = {field.name: field for field in dataclasses.fields(cls)}
        values = {}
        for name, text in environ.items():
            if not name.startswith(PREFIX) or name in _OF_SETUP:
                continue
            key = name[len(PREFIX) :].lower()
            if key not in known:
                near = checked.closest(key, known)
                hint = f"Did you mean {PREFIX}{near.upper()}?" if near else "See README.md."
                raise SettingsError(f"`{name}` is not a setting. {hint}")
            try:
                values[key] = checked.parse(known[key], text)
            except ValueError as error:
                raise SettingsError(str(error)) from None
        return cls(**values)

    def group(self, kind: type[_Group]) -> _Group:
        """The settings of one group, e.g. `settings.group(Ingestion)`."""
        return kind(**{name: getattr(self, name) for name in checked.names(kind)})

    def recipe(self) -> dict[str, Any]:
        """The fields of the recipe that the user set."""
        values = self.group(Recipe).to_dict()
        return {name: value for name, value in values.items() if value is not None}


# What ingestion writes for given ratings depends on these, and so does its cache.
INGESTION = tuple(name for name in checked.names(Ingestion) if name != "ratings")
RECIPE = checked.names(Recipe)


def serving_name(settings: Settings) -> str:
    """The model's name for servers: `imn` for every preset of IMN, else `model` as one word."""
    name = re.sub(r"\W+", "_", settings.model)  # a colon would end the name in a REST path
    is_imn = name == settings.model and (name == "seed" or name.startswith("imn_"))
    return "imn" if is_imn else name


def check_workers(settings: Settings, environ: Mapping[str, str]) -> None:
    """Checks `TF_CONFIG`, if the Trainer will read it, without loading TFX or TensorFlow.

    Raises:
      SettingsError: if it is wrong.
    """
    if settings.distribute == "multi_worker" and not settings.workers:
        try:
            cluster.check_trainer(environ)
        except ValueError as error:
            raise SettingsError(str(error)) from None


def check_model(settings: Settings) -> None:
    """Checks that the model exists, without loading TFX or TensorFlow.

    Raises:
      SettingsError: if it does not.
    """
    try:
        presets.preset(settings.model)
    except ValueError as error:
        raise SettingsError(str(error)) from None
