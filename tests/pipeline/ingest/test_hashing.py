"""Hashes of arrays against the same formula on Python's whole numbers."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ingestion import naive_choices
from pipeline.ingest import hashing

numbers = st.integers(0, (1 << 64) - 1)


@given(numbers, st.lists(numbers, min_size=1, max_size=5))
def test_mix(first, second):
    expected = [naive_choices.mix(first, value) for value in second]
    assert hashing.mix(first, np.array(second, np.uint64)).tolist() == expected


@given(st.lists(st.text(max_size=30)), st.integers(0, 3))
def test_strings(texts, skipped):
    expected = [naive_choices.hash_text(text) for text in texts]
    assert hashing.hash_strings(pa.array(texts, pa.string())).tolist() == expected
    part = pa.array(texts, pa.string()).slice(skipped)
    assert hashing.hash_strings(part).tolist() == expected[skipped:]


def test_hashes_spread():
    hashes = hashing.hash_strings(pa.array([f"U{n}" for n in range(20_000)]))
    assert len(set(hashes.tolist())) == 20_000
    count = np.bincount(hashing.ranges(hashes, 10), minlength=10)
    # Ten standard deviations of a binomial around its mean.
    assert abs(count - 2_000).max() < 10 * np.sqrt(1_800)
    below = (hashes <= hashing.threshold(500, 20_000)).sum()
    assert abs(below - 500) < 10 * np.sqrt(500)
    assert (hashes <= hashing.threshold(500, 500)).all()
