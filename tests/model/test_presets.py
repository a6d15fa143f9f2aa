"""The presets, the options of a model, and models from outside the repository."""

import ast
import dataclasses
import pathlib
import subprocess
import sys

import pytest

from model import presets
from model.configs import TrainingConfig, parse_options
from model.imn import IMNConfig
from tests.support import mean_model


def test_presets_have_the_options_of_the_paper_and_of_its_code():
    rows = {name: presets.resolve(name) for name in ("imn_2p", "imn_3p", "imn_3p_plus", "seed")}
    passes = {name: (config.passes, config.enhancement) for name, (config, _) in rows.items()}
    assert passes == {
        "imn_2p": (2, False),
        "imn_3p": (3, False),
        "imn_3p_plus": (3, True),
        "seed": (3, True),
    }
    for name in ("imn_2p", "imn_3p", "imn_3p_plus"):
        config, recipe = rows[name]
        assert config.head_units == (128, 64)
        assert (recipe.learning_rate, recipe.batch_size) == (3e-3, 512)
        assert (recipe.table_learning_rate, recipe.table_initial_scale) == (2e-2, 0.01)
        assert recipe.extra_candidates == 4
        assert recipe.history_dropout == 0
        assert not config.states
    config, recipe = rows["seed"]
    assert (config.embedding_dim, config.num_heads, config.head_product) == (10, 1, False)
    assert (config.batch_norm, config.dropout, config.l2) == (True, 0.2, 1e-6)
    assert (config.normalization, config.gru_start) == ("sigmoid", "random")
    assert (recipe.learning_rate, recipe.table_learning_rate) == (1e-5, 1e-5)
    assert (recipe.extra_candidates, recipe.batch_size) == (0, 512)


def test_imn_states_differs_from_3p_plus_in_two_fields():
    config, recipe = presets.resolve("imn_states")
    paper, shared = presets.resolve("imn_3p_plus")
    assert config == dataclasses.replace(paper, states=True)
    assert recipe == dataclasses.replace(shared, history_dropout=1.0)


def test_options_and_recipe_override_a_preset():
    config, recipe = presets.resolve(
        "imn_2p",
        " passes=5, num_heads=2,head_units=64x32x16,normalization=length,feedback=off,dropout=0",
        {"epochs": 3, "learning_rate": 1, "extra_candidates": 0},
    )
    assert config == IMNConfig(
        passes=5,
        enhancement=False,
        num_heads=2,
        head_units=(64, 32, 16),
        normalization="length",
        feedback=False,
    )
    assert recipe == TrainingConfig(epochs=3, learning_rate=1.0, extra_candidates=0)


@pytest.mark.parametrize(
    ("model", "options", "recipe", "message"),
    [
        ("imn_4p", "", {}, r"`model` must be one of youtube_dnn, .*'imn_4p'.*Did you mean"),
        ("imn_3p", "passes", {}, r"imn_3p.*name=value.*'passes'"),
        (
            "imn_3p",
            "pases=2",
            {},
            r"`pases` is not an option.*Did you mean `passes`.*Known: emb",
        ),
        ("imn_3p", "passes=11", {}, r"`passes` must be between 0 and 10. Received: 11"),
        ("imn_3p", "passes=two", {}, r"`passes` must be a whole number. Received: 'two'"),
        ("imn_3p", "passes=1,passes=2", {}, r"`passes` must occur once"),
        ("imn_3p", "dropout=x", {}, r"`dropout` must be a number"),
        ("imn_3p", "dropout=nan", {}, r"`dropout` must be between"),
        ("imn_3p", "feedback=maybe", {}, r"`feedback` must be true or false"),
        ("imn_3p", "normalization=l1", {}, r"`normalization` must be one of softmax, sigmoid, len"),
        ("imn_3p", "num_heads=3", {}, r"`num_heads` must divide `embedding_dim`, 32. Received: 3"),
        ("imn_3p", "head_units=128-64", {}, r"`head_units` must be whole numbers joined by x"),
        ("imn_3p", "head_units=0", {}, r"`head_units` must be whole numbers of at least 1"),
        ("imn_3p", "", {"epoch": 1}, r"`epoch` is not a field of the recipe. Known: epochs"),
        ("imn_3p", "", {"epochs": 0}, r"`epochs` must be at least 1. Received: 0"),
        ("imn_3p", "", {"batch_size": 1.5}, r"`batch_size` must be of type int. Received: 1.5"),
    ],
)
def test_the_message_names_what_is_not_allowed(model, options, recipe, message):
    with pytest.raises(ValueError, match=message):
        presets.resolve(model, options, recipe)


def test_a_config_survives_json():
    config, _ = presets.resolve("imn_3p_plus", "head_units=8x4")
    assert IMNConfig(**{**config.to_dict(), "head_units": [8, 4]}) == config


def test_empty_options_and_no_hidden_layer():
    assert parse_options(IMNConfig, "") == {}
    assert parse_options(IMNConfig, "head_units=") == {"head_units": ()}


def test_the_table_needs_no_tensorflow():
    """So the run refuses a misspelt model without a wait."""
    code = (
        "import sys\nfrom model import presets\n"
        "try:\n    presets.resolve('imm')\nexcept ValueError: pass\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


SOURCE = pathlib.Path(mean_model.__file__).read_text(encoding="utf-8")


@pytest.fixture(name="outside")
def fixture_outside(tmp_path, monkeypatch):
    """A module and a package outside the repository, on the path."""
    (tmp_path / "outside_model.py").write_text(SOURCE)
    (tmp_path / "outside_package").mkdir()
    for name, text in (("__init__", ""), ("mean", SOURCE), ("helper", "")):
        (tmp_path / "outside_package" / f"{name}.py").write_text(text)
    (tmp_path / "outside_broken.py").write_text("import module_that_nobody_has")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("outside_")]:
        del sys.modules[name]


def test_a_model_outside_the_repository_is_named_by_module_and_class(outside):
    config, recipe = presets.resolve("outside_model:MeanConfig", "scale=2,embedding_dim=8")
    assert (config.scale, config.embedding_dim) == (2.0, 8)
    assert recipe == TrainingConfig()
    assert presets.preset("outside_package.mean:MeanConfig").config_class().__name__ == "MeanConfig"
    assert presets.preset("model.imn:IMNConfig").config_class() is IMNConfig


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("outside_modle:MeanConfig", "", r"can be imported.*Received: 'outside_modle:MeanConfig'"),
        ("outside_broken:Config", "", r"ModuleNotFoundError: .*module_that_nobody_has.*PYTHONPATH"),
        ("outside_model:Meen", "", r"subclass of `model.configs.ModelConfig`.*defines MeanConfig"),
        ("outside_model:Mean", "", r"must name a subclass .* Received: 'outside_model:Mean'"),
        ("outside_model:MeanConfig", "skale=1", r"`skale` is not an option.*Did you mean `scale`"),
        ("outside_model:", "", r"must be one of youtube_dnn, .*or package.module:Config"),
        ("../outside:Config", "", r"must be one of youtube_dnn, .*or package.module:Config"),
    ],
)
def test_the_message_names_what_is_wrong_with_a_model_outside(outside, model, options, message):
    with pytest.raises(ValueError, match=message):
        presets.resolve(model, options)


def test_source_files_of_a_model_are_its_module_and_its_package(outside):
    def names(model):
        return [file.name for file in presets.preset(model).source_files()]

    assert names("outside_model:MeanConfig") == ["outside_model.py"]
    assert names("outside_package.mean:MeanConfig") == ["__init__.py", "helper.py", "mean.py"]


def test_the_example_in_the_docs_is_the_model_of_these_tests():
    page = pathlib.Path(__file__).resolve().parents[2] / "docs" / "models.md"
    example = page.read_text(encoding="utf-8").partition("# shop_models/mean.py\n")[2]
    block = ast.parse(example.partition("```")[0]).body
    assert [ast.dump(node) for node in block] == [
        ast.dump(node) for node in ast.parse(SOURCE).body[1:]
    ]
