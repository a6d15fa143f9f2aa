"""Norms from copies of the variables against the gradients that the optimizer got."""

import re

import numpy as np
import pytest
import tensorflow as tf

from model import presets
from model.ranker import build_ranker
from model.scorer import DataSpec
from model.training.summaries import norms
from tests.support.batches import L, batch, step


@pytest.mark.parametrize("few", [50, 10_000])
def test_norms_are_those_of_the_step(monkeypatch, few):
    """With the rows of the batch of the item table, and with the whole one."""
    monkeypatch.setattr(norms, "_FEW", few)
    config, recipe = presets.resolve("imn_3p_plus", "embedding_dim=8,head_units=8")
    ranker = build_ranker(config, DataSpec(100, L), recipe, retrieval=10)
    rows = batch(np.random.default_rng(0))
    step(ranker, rows)  # after it, the moments are not 0
    found = norms.Norms(ranker, ranker.optimizer)
    old = [variable.numpy() for variable in ranker.trainable_variables]
    found.before(rows)
    _, gradients = step(ranker, rows)
    got = found.after()
    assert found.after() == {}  # until the next copy

    squares = {}
    groups = {"history_encoder/item_table": "item_table", "history_encoder": "other_tables"}
    groups |= {"imn/memory_update": "imn/memory_update", "head": "head"}
    groups |= {"imn/memory_enhancement": "imn/memory_enhancement", "first_stage": "first_stage"}
    for name, variable, before in zip(
        norms.names(ranker), ranker.trainable_variables, old, strict=True
    ):
        plain = re.sub(r"_\d+(?=/|$)", "", name)  # Keras numbers the layers of a process
        group = next(of for start, of in groups.items() if plain.startswith(start))
        if group == "first_stage":  # two of its variables may have the name of others
            continue
        gradient = tf.convert_to_tensor(gradients[variable.name]).numpy()
        for kind, values in (("gradient", gradient), ("update", variable.numpy() - before)):
            tag = f"{kind}_norm/{group}"
            squares[tag] = squares.get(tag, 0.0) + np.square(values, dtype=np.float64).sum()
    for tag, square in squares.items():
        assert got[tag] == pytest.approx(square**0.5, rel=1e-3), tag
    assert {tag.partition("/")[2] for tag in got} == set(groups.values())


def test_names_do_not_depend_on_earlier_models_of_the_process():
    config, recipe = presets.resolve("imn_2p", "passes=1,embedding_dim=4,head_units=4")
    first, second = (
        norms.names(build_ranker(config, DataSpec(9, 3), recipe, retrieval=5)) for _ in range(2)
    )
    assert first == second
    assert len(set(first)) == len(first)
    assert any(name.startswith("head/") for name in first)
