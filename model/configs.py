"""Configuration of models and of their training. Does not import TensorFlow.

Every field has a default, a range and one line of meaning. The constructor refuses a value
outside the range. A model adds its own fields in a subclass of `ModelConfig`, in the file of its
layer.
"""

import dataclasses
from typing import Any, ClassVar

from transforms import checked
from transforms.checked import Checked, choice, number

# A model's file needs these two for the fields of its config.
__all__ = ["ModelConfig", "TrainingConfig", "choice", "number", "parse_options"]


@dataclasses.dataclass(frozen=True)
class ModelConfig(Checked):
    """Options that all models share: the width of the embeddings and the head."""

    embedding_dim: int = number(32, 1, 4096)  # D
    head_units: tuple[int, ...] = (128, 64)  # hidden layers of the head; "128x64" in a string
    head_product: bool = True  # the head reads u∘v besides u and v
    dropout: float = number(0.0, 0.0, 0.99)  # rate in the head's hidden layers
    batch_norm: bool = False  # batch normalization before each layer of the head
    l2: float = number(0.0, 0.0)  # L2 of the head's kernels
    attributes: str = choice("sum", "projection")  # how an item's id and fields are combined

    # The block is called on this many groups of rows with similar history lengths, which saves
    # most of the padding. An even number, or 1 for a block that needs the whole batch at once.
    length_groups: ClassVar[int] = 4

    def block(self) -> Any:
        """The layer between the encoder and the head: a `model.layers.block.SequenceBlock`."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Checked):
    """Options of a training, the "recipe". A step is one batch."""

    epochs: int = number(10, 1)  # at most; early stopping usually ends sooner
    batch_size: int = number(512, 2)  # samples of a step
    learning_rate: float = number(3e-3, 0.0)  # Adam, for all variables but the tables
    table_learning_rate: float = number(2e-2, 0.0)  # Adam, for the embedding tables
    table_initial_scale: float = number(0.01, 0.0)  # initial standard deviation of the tables
    extra_candidates: int = number(4, 0, 1000)  # in-batch negatives of the softmax loss
    # Training leaves out a share of each history, drawn uniformly from 0 to this.
    history_dropout: float = number(0.0, 0.0, 1.0)
    # Share of a batch's items that are known by their attributes alone, if there are any.
    id_dropout: float = number(0.5, 0.0, 1.0)
    evaluations_per_epoch: int = number(4, 1)  # of eval, for early stopping
    table_l2: float = number(0.0, 0.0)  # mini-batch-aware L2 of the item table
    patience: int = number(6, 1)  # evaluations without a better AUC before stopping


def parse_options(kind: type[Checked], text: str) -> dict[str, Any]:
    """Values of fields of `kind` by name, from a string such as `"passes=5,num_heads=2"`.

    Raises:
      ValueError: for an unknown name, a repeated name, or a value of the wrong type.
    """
    known = {field.name: field for field in dataclasses.fields(kind)}
    values = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"An option must have the form name=value. Received: {part!r}.")
        if name not in known:
            near = checked.closest(name, known)
            hint = f" Did you mean `{near}`?" if near else ""
            raise ValueError(
                f"`{name}` is not an option of this model.{hint} Known: {', '.join(known)}."
            )
        if name in values:
            raise ValueError(f"`{name}` must occur once. Received: {text!r}.")
        values[name] = checked.parse(known[name], value)
    return values
