"""The component as TFX runs it: what it marks, and what its cache goes by."""

import dataclasses
import os

import pytest
from ml_metadata.metadata_store import metadata_store
from tfx import v1 as tfx
from tfx.components.util import tfxio_utils
from tfx.orchestration import metadata
from tfx.types import artifact_utils, standard_artifacts
from tfx_bsl.tfxio import dataset_options

from pipeline.configs import INGESTION, Settings
from pipeline.ingest import component
from pipeline.ingest.component import RatingsExampleGen
from pipeline.local import console
from tests.support import ingested
from tests.support.ingested import DAY, FIRST
from transforms import features

EVENTS = [(f"U{u}", f"I{u}x{n}", (FIRST + 7 * n + u) * DAY) for u in range(5) for n in range(12)]


def run(folder, settings):
    """One run; the examples that are there after it, oldest first."""
    config = metadata.sqlite_metadata_connection_config(str(folder / "metadata.db"))
    pipeline = tfx.dsl.Pipeline(
        pipeline_name="test",
        pipeline_root=str(folder / "root"),
        components=[RatingsExampleGen(settings)],
        enable_cache=True,
        metadata_connection_config=config,
        beam_pipeline_args=["--runner=DirectRunner", "--direct_running_mode=in_memory"],
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)
    return metadata_store.MetadataStore(config).get_artifacts_by_type("Examples")


def test_marks_and_cache(tmp_path):
    path = tmp_path / "ratings.csv"
    ingested.write_csv(path, EVENTS)
    settings = Settings(ratings=str(path), layout="2014", max_history_length=4)
    (first,) = run(tmp_path, settings)
    folder = tmp_path / "root" / "RatingsExampleGen" / "examples" / "1"
    samples = ingested.read(folder)
    for split in features.SPLITS:
        count = sum(sample.split == split for sample in samples)
        assert first.custom_properties[f"rows_{split}"].int_value == count > 0

    # TFX's own reader takes it as it is.
    artifact = standard_artifacts.Examples()
    artifact.set_mlmd_artifact(first)
    assert artifact_utils.decode_split_names(artifact.split_names) == list(features.SPLITS)
    read = tfxio_utils.get_record_batch_factory_from_artifact([artifact], ["test"])
    files = [str(file) for file in (folder / "Split-train").iterdir()]
    batches = read(files, dataset_options.RecordBatchesOptions(batch_size=64, num_epochs=1), None)
    rows = sum(batch.num_rows for batch in batches)
    assert rows == first.custom_properties["rows_train"].int_value

    path.write_bytes(path.read_bytes())  # touched, and the same
    assert len(run(tmp_path, settings)) == 1
    assert len(run(tmp_path, dataclasses.replace(settings, sampling_seed=1))) == 2
    before = path.stat()
    text = path.read_text()
    path.write_text(text.replace("U0,I0x0,", "U0,I1x0,", 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size  # size and time are those of the cached run
    assert len(run(tmp_path, settings)) == 3


def test_a_users_mistake_is_told_in_one_line(tmp_path):
    with pytest.raises(Exception, match="missing") as caught:
        run(tmp_path, Settings(ratings=str(tmp_path / "missing.csv")))
    assert console.explain(caught.value)[0] == console.BAD_INPUT
    path = ingested.write_csv(tmp_path / "ratings.csv", EVENTS[:2])
    with pytest.raises(Exception, match="empty") as caught:
        run(tmp_path, Settings(ratings=path, layout="2014"))
    status, reason = console.explain(caught.value)
    assert status == console.BAD_INPUT
    assert "Traceback" not in reason
    assert reason.count("\n") == 0


def test_a_file_that_changes_while_it_is_read_stops_the_run(tmp_path, monkeypatch):
    path = ingested.write_csv(tmp_path / "ratings.csv", EVENTS)
    settings = Settings(ratings=path, layout="2014", max_history_length=4)
    whole = component.ingest

    def ingest_and_append(*arguments):
        report = whole(*arguments)
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"U0,I0x0,5.0,{FIRST * DAY}\n")
        return report

    monkeypatch.setattr(component, "ingest", ingest_and_append)
    with pytest.raises(Exception, match="changed while it was read") as caught:
        run(tmp_path, settings)
    assert console.explain(caught.value)[0] == console.BAD_INPUT
    assert not list(tmp_path.glob("root/RatingsExampleGen/examples/*/Split-*"))
    monkeypatch.undo()
    examples = run(tmp_path, settings)
    assert sum("rows_train" in artifact.custom_properties for artifact in examples) == 1


def test_settings_that_do_not_change_samples_are_no_part_of_the_key():
    names = set(INGESTION)
    assert names <= {field.name for field in dataclasses.fields(Settings)}
    properties = RatingsExampleGen(Settings(ratings="a/b*.csv", epochs=7)).exec_properties
    assert names <= properties.keys()
    assert "epochs" not in properties
    assert properties["input_base"] == "a"


@pytest.mark.parametrize("given", [{}, {"input_fingerprint": "split:ratings,num_files:1"}])
def test_without_the_own_driver_the_digest_is_taken_before_the_job(given, tmp_path):
    path = tmp_path / "ratings.csv"
    ingested.write_csv(path, EVENTS)
    before = component._digest_before(str(path), given)
    assert component._digest_before(str(path), {"input_fingerprint": before}) == before
    component._stop_if_changed(str(path), before, str(tmp_path))
    ingested.write_csv(path, EVENTS[:-1])
    assert component._digest_before(str(path), {"input_fingerprint": before}) == before
    assert component._digest_before(str(path), given) != before
