import dataclasses
import shutil

import pytest

from pipeline import pipeline
from pipeline.configs import Settings, SettingsError, serving_name
from tests.support import mean_model


def create(**settings):
    return pipeline.create_pipeline(
        dataclasses.replace(Settings(ratings="/data/ratings.csv"), **settings),
        pipeline_root="/root",
        serving_dir="/served",
        checkpoint_root="/checkpoints",
        beam_pipeline_args=[],
    )


@pytest.mark.parametrize(
    ("model", "name", "served"),
    [
        ("imn_3p_plus", "imn", "imn"),
        ("imn_2p", "imn-imn-2p", "imn"),
        ("seed", "imn-seed", "imn"),
        ("din", "imn-din", "din"),
        ("shop.Mean:MeanConfig", "imn-shop-mean-meanconfig", "shop_Mean_MeanConfig"),
        ("imn_x:Config", "imn-imn-x-config", "imn_x_Config"),
    ],
)
def test_names_follow_the_model(model, name, served):
    settings = Settings(model=model)
    assert pipeline.pipeline_name(settings) == name
    assert serving_name(settings) == served


def test_nothing_learns_before_the_stop_on_anomalies():
    components = {component.id: component for component in create().components}
    stop = components["AnomalyStop"]
    assert stop in components["Transform"].upstream_nodes
    order = list(components)
    assert order.index("AnomalyStop") < order.index("Transform") < order.index("Trainer")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model": "transformer"}, "imn_3p_plus"),
        ({"model_options": "passes=eleven"}, "passes"),
        ({"model_options": "wings=2"}, "wings"),
    ],
)
def test_an_unknown_model_or_option_is_refused_before_anything_runs(settings, says):
    with pytest.raises(SettingsError, match=says):
        create(**settings)


def test_settings_reach_only_what_they_change():
    def changed(**settings):
        before = {c.id: c.exec_properties for c in create().components}
        after = {c.id: c.exec_properties for c in create(**settings).components}
        return {name for name in before if before[name] != after[name]}

    assert changed(epochs=3) == {"Trainer"}
    assert changed(min_auc=0.6) == {"Evaluator"}
    assert changed(oov_buckets=9) == {"Transform", "Trainer"}
    assert changed(sampling_seed=1) == {"RatingsExampleGen"}
    assert changed(allow_uncompared=True) == {"Evaluator"}
    assert changed(statistics_rows=7) == {"StatisticsGen"}


def test_a_model_outside_the_repository_runs_again_when_its_source_changes(tmp_path, monkeypatch):
    source = tmp_path / "outside_mean.py"
    shutil.copy(mean_model.__file__, source)
    monkeypatch.syspath_prepend(str(tmp_path))

    def properties():
        components = create(model="outside_mean:MeanConfig", model_options="scale=2").components
        return {component.id: component.exec_properties for component in components}

    before, again = properties(), properties()
    source.write_text(source.read_text() + "CHANGED = True\n")
    after = properties()
    assert before == again
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"Trainer", "InfraCheck"}


def test_a_model_outside_the_repository_that_does_not_exist_is_refused():
    with pytest.raises(SettingsError, match=r"can be imported. Received: 'no_such_module:Config'"):
        create(model="no_such_module:Config")
