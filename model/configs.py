"""What a model and its training can be told, without importing TensorFlow.

Every field has a default, a range and one line of meaning; a value outside its
range is refused at construction. A model adds its own fields in a subclass of
`ModelConfig`, beside its layer.
"""

import dataclasses
import difflib
import typing
from typing import Any, ClassVar


def number(default: Any, low: float, high: float = float("inf")) -> Any:
    """A dataclass field with a number from `low` to `high`."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


def choice(default: str, *others: str) -> Any:
    """A dataclass field with one of some words."""
    return dataclasses.field(default=default, metadata={"allowed": (default, *others)})


@dataclasses.dataclass(frozen=True)
class Checked:
    """A frozen dataclass whose values are checked against their fields.

    Raises:
      ValueError: at construction, naming the field, the rule and the value.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))

    def to_dict(self) -> dict[str, Any]:
        """The values by name, for JSON."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class ModelConfig(Checked):
    """What all models share: the width of the embeddings and the head."""

    embedding_dim: int = number(32, 1, 4096)  # D
    head_units: tuple[int, ...] = (128, 64)  # hidden layers of the head; "128x64" in a string
    head_product: bool = True  # u∘v beside u and v in the head
    dropout: float = number(0.0, 0.0, 0.99)  # of the head's hidden layers
    batch_norm: bool = False  # before each layer of the head
    l2: float = number(0.0, 0.0)  # on the head's kernels

    # Rows of similar length are computed together, so that short histories do not
    # pay for long ones. Even, or 1 for a block that needs the whole batch at once.
    length_groups: ClassVar[int] = 4

    def block(self) -> Any:
        """The Keras layer between the encoder and the head.

        It is called as `block(history, mask, targets, training=..., seed=...)` with
        `history` `(B, L, D)`, oldest first and padded with zeros on the left,
        `mask` `(B, L)`, True where filled, and `targets` `(B, K, D)`, and gives
        what it makes of the user for each candidate, `(B, K, D')`; `(B, 1, D')`
        where candidates do not matter. While training it is called on
        `length_groups` parts of a batch, one after the other; all that is random must
        come from `seed`, two integers, so that a resumed training draws the same. A
        block with a loss of its own gives `(user, loss)` while training, the loss
        being a mean over the rows it was given.

        A block that reads the history by weights may say which: a method
        `attention_weights(history, mask, targets)` gives them as `(B, N, K, L)`, N
        being how often the history is read, 0 where padded. The export then has the
        signature `explain`.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Checked):
    """How a model is trained. Steps and evaluations are counted in batches."""

    epochs: int = number(10, 1)  # at most; early stopping usually ends before
    batch_size: int = number(512, 2)
    learning_rate: float = number(3e-3, 0.0)  # Adam, of everything but the tables
    table_learning_rate: float = number(2e-2, 0.0)  # Adam, of the embedding tables
    table_initial_scale: float = number(0.01, 0.0)  # standard deviation of their first values
    extra_candidates: int = number(4, 0, 1000)  # other targets of the batch, in a softmax loss
    # In training each row leaves out a share of its events, drawn from 0 to this.
    history_dropout: float = number(0.0, 0.0, 1.0)
    evaluations_per_epoch: int = number(4, 1)
    table_l2: float = number(0.0, 0.0)  # decay of the batch's item rows over their counts
    patience: int = number(6, 1)  # evaluations without a better AUC before stopping


def parse_options(kind: type[Checked], text: str) -> dict[str, Any]:
    """Values of fields of `kind` from a string such as `"passes=5,num_heads=2"`.

    Raises:
      ValueError: for a name that is no field, or a value that cannot be read.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    values = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"An option must read name=value. Received: {part!r}.")
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise ValueError(f"`{name}` is no option of this model.{hint} Known: {_names(fields)}.")
        if name in values:
            raise ValueError(f"`{name}` is given twice in {text!r}.")
        values[name] = _parsed(fields[name], value)
    return values


def _names(names: Any) -> str:
    return ", ".join(names)


def _parsed(field: dataclasses.Field, text: str) -> Any:
    if field.type is bool:
        words = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}
        if text.lower() not in words:
            raise ValueError(f"`{field.name}` must be true or false. Received: {text!r}.")
        return words[text.lower()]
    try:
        if typing.get_origin(field.type) is tuple:
            return tuple(int(piece) for piece in text.split("x")) if text else ()
        return typing.cast(type, field.type)(text)
    except ValueError:
        kind = {int: "a whole number", float: "a number"}.get(
            typing.cast(type, field.type), "whole numbers joined by x, such as 128x64"
        )
        raise ValueError(f"`{field.name}` must be {kind}. Received: {text!r}.") from None


def _checked(field: dataclasses.Field, value: Any) -> Any:
    if typing.get_origin(field.type) is tuple:
        values = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not all(type(each) is int and each >= 1 for each in values):
            raise ValueError(
                f"`{field.name}` must be whole numbers of at least 1. Received: {value!r}."
            )
        return values
    if field.type is float and type(value) is int:
        value = float(value)
    if type(value) is not field.type:
        kind = typing.cast(type, field.type).__name__
        raise ValueError(f"`{field.name}` must be of type {kind}. Received: {value!r}.")
    allowed = field.metadata.get("allowed")
    if allowed and value not in allowed:
        raise ValueError(f"`{field.name}` must be one of {_names(allowed)}. Received: {value!r}.")
    if "low" in field.metadata:
        low, high = field.metadata["low"], field.metadata["high"]
        if not low <= value <= high:
            rule = f"at least {low}" if high == float("inf") else f"between {low} and {high}"
            raise ValueError(f"`{field.name}` must be {rule}. Received: {value!r}.")
    return value
