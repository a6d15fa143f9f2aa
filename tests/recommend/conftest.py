"""The server that the tests of serving/ share, for the recommend command too, and small ratings."""

import json
import shutil

import pytest
from tensorflow.core.protobuf import saved_model_pb2

from tests.serving.conftest import WARMUP, light, running  # noqa: F401
from tests.support.raw_examples import DAY, NOW

# User, item, rating, days before NOW; the lines of a file are in no order.
RATINGS = [
    ("ann", "i003", 5, 10),
    ("bob", "i040", 3, 0),
    ("ann", "i001", 4, 30),
    ("ann", "i002", 1, 20),
    ("bob", "i005", 5, 50),
    ("ann", "i001", 4, 30),
    ("Annabel", "i007", 5, 5),
]


@pytest.fixture(scope="session")
def page_models(light, tmp_path_factory):  # noqa: F811
    """A folder of models, whose ratings and catalogue lie beside it.

    Version 2 can recommend from its whole catalogue, version 1 only ranks candidates.
    """
    root = tmp_path_factory.mktemp("page")
    rows = [f"{user},{item},{stars},{NOW - day * DAY}" for user, item, stars, day in RATINGS]
    (root / "ratings.csv").write_text("user_id,item_id,rating,timestamp\n" + "\n".join(rows) + "\n")
    items = [
        {"asin": f"i{number:03}", "title": f"Thing {number}", "shelf": f"Shelf {number % 7}"}
        for number in range(70)  # the last ten are new
    ]
    items[10]["title"] = "<b>Bold</b> thing"
    (root / "items.jsonl").write_text("\n".join(map(json.dumps, items)))
    field = {"name": "shelf", "kind": "category", "bounds": [], "rows": 9, "width": 1}
    table = {"items": 70, "fields": [field], "source": str(root / "items.jsonl"), "id": "asin"}
    for version in ("1", "2"):
        folder = root / "runs" / "serving_model" / "imn" / version
        shutil.copytree(light, folder)
        (folder / "assets.extra" / "item_table.json").write_text(json.dumps(table))
    file = root / "runs" / "serving_model" / "imn" / "1" / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    signatures = model.meta_graphs[0].signature_def
    for name in ("retrieve", "recommend", "recommend_filtered"):
        del signatures[name]
    file.write_bytes(model.SerializeToString())
    warm_up = file.parent / WARMUP
    warm_up.unlink()
    return root / "runs" / "serving_model"
