"""Units of time, fractions and ISO 8601, against Python's own datetime."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.sources import times

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
instants = st.datetimes(datetime.datetime(1995, 1, 1), datetime.datetime(2100, 1, 1)).map(
    lambda at: at.replace(tzinfo=datetime.timezone.utc)
)
offsets = st.integers(-14 * 60, 14 * 60).map(
    lambda m: datetime.timezone(datetime.timedelta(minutes=m))
)


def micros(at: datetime.datetime) -> int:
    return (at - EPOCH) // datetime.timedelta(microseconds=1)


def parsed(text: str, unit: str) -> int:
    value, ok = times.microseconds(pa.array([text]), unit)
    assert ok.all()
    return int(value[0])


@given(instants, offsets, st.sampled_from("T "))
def test_iso_is_what_datetime_says(at, zone, between):
    local = at.astimezone(zone)
    assert parsed(local.isoformat(between), "iso") == micros(at)
    assert parsed(at.replace(tzinfo=None).isoformat(between), "iso") == micros(at)
    assert parsed(at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "iso") == micros(at)
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    assert parsed(at.date().isoformat(), "iso") == micros(day)


@given(st.lists(instants, min_size=1, max_size=5))
def test_units_are_told_by_their_size(ats):
    factors = {"s": 10**6, "ms": 10**3, "us": 1}
    for unit, factor in factors.items():
        texts = [str(micros(at) // factor) for at in ats]
        assert times.unit(texts) == unit
        expected = [micros(at) // factor * factor for at in ats]
        value, ok = times.microseconds(pa.array(texts), unit)
        assert ok.all()
        assert value.tolist() == expected
        # A column with another kind of text in it is read the same.
        value, ok = times.microseconds(pa.array([*texts, "x"]), unit)
        assert value.tolist()[:-1] == expected
        assert ok.tolist() == [True] * len(ats) + [False]
    assert times.unit([f"{micros(at)}000" for at in ats]) == "ns"
    assert parsed(f"{micros(ats[0])}999", "ns") == micros(ats[0])


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("1388534400.0", "s", 1_388_534_400_000_000),
        ("1388534400.123456789", "s", 1_388_534_400_123_456),
        ("1388534400123.5", "ms", 1_388_534_400_123_500),
        ("1.3885344e9", "s", 1_388_534_400_000_000),
        ("-1.5", "s", -1_500_000),
        ("2014-01-01 00:00", "iso", 1_388_534_400_000_000),
        ("2014-01-01t00:00:00.5z", "iso", 1_388_534_400_500_000),
        ("2014-01-01T01:00+01", "iso", 1_388_534_400_000_000),
        ("2014-01-01 00:00:00 UTC", "iso", 1_388_534_400_000_000),
        ("2016-12-31T23:59:60Z", "iso", 1_483_228_800_000_000),
    ],
)
def test_texts(text, unit, expected):
    assert parsed(text, unit) == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "0x5", "1e400", "--1", "2014-13-01", "2014-01-01T25:00", "1388534400", "01/02/2014"],
)
def test_what_is_no_iso_time(text):
    _, ok = times.microseconds(pa.array([text]), "iso")
    assert not ok.any()


def test_numbers_too_large_are_times_too_late_and_never_wrap_around():
    for unit in ("s", "ms", "us", "ns"):
        for texts in (["9" * 18], ["9" * 25], ["9" * 18, "x"]):
            value, _ = times.microseconds(pa.array(texts), unit)
            assert value[0] > 4_000_000_000 * times.SECOND or unit in ("us", "ns")
            assert value[0] > 0
    assert np.iinfo(np.int64).max > 9_000_000_000_000 * times.SECOND


def test_the_unit_of_dates_and_of_nothing():
    assert times.unit(["2014-01-01", "1388534400", "2014-01-02"]) == "iso"
    assert times.unit(["x"]) == ""
