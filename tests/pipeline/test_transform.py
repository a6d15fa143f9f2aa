"""What Transform hands to `preprocessing_fn`, which workers on other machines call too."""

import json

import numpy as np
import pyarrow as pa
import pytest
from tfx.components.transform import executor as tfx_transform
from tfx.types import standard_artifacts

from pipeline import transform
from pipeline.ingest import arrow_files, stages
from transforms.preprocessing import item_hashes


@pytest.fixture
def artifacts(tmp_path):
    """Examples with counts of three items, and an empty graph."""
    examples, graph = standard_artifacts.Examples(), standard_artifacts.TransformGraph()
    examples.uri, graph.uri = str(tmp_path / "examples"), str(tmp_path / "graph")
    counts = tmp_path / "examples" / stages.ITEM_COUNTS
    counts.mkdir(parents=True)
    (tmp_path / "graph").mkdir()
    columns = [pa.array([1, 2, 3], pa.uint64()), pa.array([b"a", b"b", b"c"]), pa.array([1, 2, 3])]
    batch = pa.RecordBatch.from_arrays(columns, names=["hash", "item", "count"])
    arrow_files.write(str(counts / "00000"), batch.schema, [batch])
    return examples, graph


def test_frequent_items_lie_where_all_workers_see_them(artifacts, tmp_path, monkeypatch):
    examples, graph = artifacts
    seen = {}

    def tfx_do(self, inputs, outputs, properties):
        seen["path"] = json.loads(properties["custom_config"])["frequent_items"]
        seen["hashes"] = np.load(seen["path"]).tolist()

    monkeypatch.setattr(tfx_transform.Executor, "Do", tfx_do)
    monkeypatch.setattr(transform, "require_all_shards", lambda _: None)
    transform.Executor().Do(
        {"examples": [examples]},
        {"transform_graph": [graph]},
        {"custom_config": json.dumps({"min_item_count": 2})},
    )
    assert seen["path"].startswith(graph.uri)
    assert seen["hashes"] == sorted(item_hashes([b"b", b"c"]).numpy().tolist())
    assert not list((tmp_path / "graph").iterdir())
