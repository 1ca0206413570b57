"""docs/configuration.md lists every setting with its default, bounds and meaning, as the code has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from bbmr_server.settings import Settings
from bbmr_server.settings.loading import settings_by_name


def shown(value: object) -> str:
    if value in ((), "", None):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def bounds(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(field.annotation))
    if field.annotation is bool:
        return "`true`, `false`"
    found: dict[type, Any] = {type(each): each for each in field.metadata}
    if Ge in found:
        return f"{found[Ge].ge} to {found[Le].le}" if Le in found else f"{found[Ge].ge} or more"
    return f"above {found[Gt].gt}, at most {found[Le].le}" if Gt in found else ""


def row(name: str, field: FieldInfo) -> str:
    return f"| `BBMR_{name.upper()}` | {shown(field.default)} | {bounds(field)} | {field.description} |"


@pytest.fixture(scope="module")
def text() -> str:
    return (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


def test_the_tables_list_every_setting_as_the_code_has_it(text: str) -> None:
    listed = re.findall(r"^\| `BBMR_.*$", text, re.M)
    assert listed == [row(name, place.field) for name, place in settings_by_name().items()]


def test_every_section_has_a_table(text: str) -> None:
    named = re.findall(r"^### .*\(`settings\.(\w+)`\)$", text, re.M)
    assert named == list(Settings.model_fields)
