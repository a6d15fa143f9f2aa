import dataclasses

import pytest

from model.configs import ModelConfig, TrainingConfig, parse_options
from pipeline.configs import RECIPE, Gate, Settings, SettingsError, check_model
from transforms import checked


def test_the_environment_overrides_defaults_by_type():
    settings = Settings.from_environment(
        {
            "IMN_RATINGS": "a.csv",
            "IMN_MAX_HISTORY_LENGTH": "7",
            "IMN_USE_TIME": "off",
            "IMN_EPOCHS": "3",
            "IMN_TOLERANCE": "0.01",
            "HOME": "/elsewhere",
        }
    )
    assert settings == dataclasses.replace(
        Settings(), ratings="a.csv", max_history_length=7, use_time=False, epochs=3, tolerance=0.01
    )


def test_the_choice_of_versions_is_no_setting_and_no_error():
    assert Settings.from_environment({"IMN_STACK": "current"}) == Settings()


def test_an_empty_value_of_an_optional_setting_leaves_it_to_the_preset():
    assert Settings.from_environment({"IMN_EPOCHS": ""}).epochs is None


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("IMN_EPOCH", "3", "Did you mean IMN_EPOCHS?"),
        ("IMN_MAX_HISTORY_LENGTH", "0", "`max_history_length` must be between 1 and"),
        ("IMN_MAX_HISTORY_LENGTH", "ten", "`max_history_length` must be a whole number"),
        ("IMN_SPLIT", "random", "one of temporal, leave_last, user. Received: 'random'"),
        ("IMN_USE_TIME", "maybe", "`use_time` must be true or false. Received: 'maybe'"),
        ("IMN_EVAL_SHARE", "nan", "`eval_share`"),
        ("IMN_TEST_SHARE", "0", "above 0"),
        ("IMN_TRAINING_SEED", "20261126120000", "`training_seed` must be between 0 and 4294967295"),
        ("IMN_OUTPUT", "", "`output` must name a folder"),
        ("IMN_OUTPUT", "run*s", "`output` must name a folder"),
        ("IMN_BEAM_ARGS", "--x='a", "`beam_args` must be a command line (No closing quotation)"),
        ("IMN_MIN_AUC", "1.5", "`min_auc` must be between 0.0 and 1.0. Received: 1.5"),
    ],
)
def test_a_bad_setting_is_named_with_what_is_allowed(name, value, says):
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({name: value})
    assert says in str(error.value)


def test_shares_leave_something_to_train_on():
    with pytest.raises(SettingsError, match="must stay below 1"):
        Settings(eval_share=0.5, test_share=0.5)


def test_an_unknown_model_is_found_at_once():
    check_model(Settings(model="din"))
    with pytest.raises(SettingsError, match="`model` must be one of"):
        check_model(Settings(model="transformer"))


def test_every_setting_belongs_to_one_group():
    groups = [set(checked.names(group)) for group in Settings.__bases__]
    assert set.union(*groups) == set(checked.names(Settings))
    assert sum(map(len, groups)) == len(checked.names(Settings))


def test_a_group_has_its_own_settings_only():
    gate = Settings(min_auc=0.7, epochs=3).group(Gate)
    assert gate == Gate(min_auc=0.7)
    assert not hasattr(gate, "epochs")


def test_the_recipe_has_the_fields_of_a_training():
    assert set(RECIPE) == set(checked.names(TrainingConfig))
    assert Settings(epochs=3, table_l2=1).recipe() == {"epochs": 3, "table_l2": 1.0}


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("off", False), ("1", True)])
def test_words_for_true_and_false_are_those_of_model_options(text, value):
    assert Settings.from_environment({"IMN_USE_TIME": text}).use_time is value
    assert parse_options(ModelConfig, f"batch_norm={text}") == {"batch_norm": value}
