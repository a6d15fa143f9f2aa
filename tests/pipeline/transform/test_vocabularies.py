"""Sums of the counts of many files."""

import collections

import numpy as np
import pyarrow as pa
import pytest

from pipeline.ingest import arrow_files
from pipeline.transform import vocabularies


@pytest.mark.parametrize("at_once", [0, 3, 1_000])
@pytest.mark.parametrize("files", [0, 1, 2, 9])
def test_counts_are_added_up_in_any_steps(tmp_path, monkeypatch, at_once, files):
    monkeypatch.setattr(vocabularies, "_FEW_ROWS", at_once)
    rng = np.random.default_rng(files)
    expected, paths = collections.Counter(), []
    for number in range(files):
        terms = rng.choice(40, int(rng.integers(0, 20)), replace=False).tolist()
        counts = {b"t%d" % term: int(rng.integers(1, 9)) for term in terms}
        expected.update(counts)
        columns = [pa.array(list(counts), pa.binary()), pa.array(list(counts.values()), pa.int64())]
        table = pa.table(columns, schema=vocabularies._SCHEMA)
        paths.append(str(tmp_path / str(number)))
        arrow_files.write(paths[-1], table.schema, table.to_batches())
    found = vocabularies._summed(paths)
    terms, counts = (column.to_pylist() for column in found.columns)
    assert len(set(terms)) == len(terms)
    assert dict(zip(terms, counts, strict=True)) == expected
