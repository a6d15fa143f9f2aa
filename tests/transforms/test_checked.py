import dataclasses

import pytest

from transforms import checked


@dataclasses.dataclass(frozen=True)
class Options(checked.Checked):
    size: int = checked.number(3, 1, 9)
    rate: float | None = checked.number(None, 0.0)
    mode: str = checked.choice("slow", "fast")
    units: tuple[int, ...] = (8, 4)
    exact: bool = False


FIELDS = {field.name: field for field in dataclasses.fields(Options)}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("size", " 7 ", 7),
        ("rate", "1e-3", 0.001),
        ("rate", "", None),
        ("units", "16x8", (16, 8)),
        ("units", "", ()),
        ("exact", "Yes", True),
        ("exact", "0", False),
    ],
)
def test_text_becomes_the_type_of_its_field(name, text, value):
    assert checked.parse(FIELDS[name], text) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("size", "", "`size` must be a whole number. Received: ''."),
        ("rate", "x", "`rate` must be a number. Received: 'x'."),
        ("units", "8,4", "`units` must be whole numbers joined by x"),
        ("exact", "maybe", "`exact` must be true or false. Received: 'maybe'."),
    ],
)
def test_text_of_another_type_is_refused(name, text, message):
    with pytest.raises(ValueError, match="must be") as error:
        checked.parse(FIELDS[name], text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 10}, "`size` must be between 1 and 9. Received: 10."),
        ({"size": True}, "`size` must be of type int. Received: True."),
        ({"size": None}, "`size` must be of type int. Received: None."),
        ({"rate": -1}, "`rate` must be at least 0.0. Received: -1.0."),
        ({"rate": float("nan")}, "`rate` must be at least 0.0. Received: nan."),
        ({"mode": "odd"}, "`mode` must be one of slow, fast. Received: 'odd'."),
        ({"units": (8, 0)}, "`units` must be whole numbers of at least 1. Received: (8, 0)."),
    ],
)
def test_a_value_outside_the_rule_is_refused(values, message):
    with pytest.raises(ValueError, match="must be") as error:
        Options(**values)
    assert str(error.value) == message


def test_values_get_the_type_of_their_field():
    options = Options(rate=1, units=[2, 3])
    assert type(options.rate) is float
    assert options.to_dict() == {
        "size": 3,
        "rate": 1.0,
        "mode": "slow",
        "units": (2, 3),
        "exact": False,
    }


def test_a_mistyped_name_finds_its_neighbour():
    assert checked.closest("siez", FIELDS) == "size"
    assert checked.closest("qqq", FIELDS) == ""
