"""docs/settings.md says what the code says, of every setting."""

import dataclasses
import re

from pipeline.configs import Settings
from pipeline.local import settings_page


def test_the_page_is_that_of_the_code():
    text = settings_page.PAGE.read_text(encoding="utf-8")
    assert text == settings_page.page(), "Run: python -m pipeline.local.settings_page"


def test_every_setting_is_there_once_with_a_meaning():
    rows = re.findall(r"^\| `IMN_(\w+)` \| .*? \| (.*) \|$", settings_page.page(), re.MULTILINE)
    names = [name.lower() for name, _ in rows]
    assert sorted(names) == sorted(field.name for field in dataclasses.fields(Settings))
    assert [name for name, meaning in rows if len(meaning) < 5] == []
    meanings = dict(rows)
    assert meanings["ID_DROPOUT"].startswith("Share of a batch")
    assert meanings["METADATA"].endswith("mysql://user:password@host:port/database")
