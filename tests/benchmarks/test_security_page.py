"""The page on security has every limit, with its value and what it is a limit of."""

from __future__ import annotations

from dataclasses import fields

from bbmr_shared import limits
from benchmarks.report import ROOT
from benchmarks.security_page import SHORT, all_limits


def test_every_limit_is_on_the_page() -> None:
    named = {name for name, *_ in all_limits()}
    assert named == {field.name for field in fields(limits.Limits)} | {
        name for name, value in vars(limits).items() if name.isupper() and isinstance(value, int | float)
    } - set(SHORT)
    page = (ROOT / "docs" / "security.md").read_text()
    assert all(f"| `{name}` |" in page for name in named)


def test_every_limit_says_what_it_is_a_limit_of() -> None:
    assert [name for name, _, what in all_limits() if len(what) < 10] == []
