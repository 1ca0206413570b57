"""docs/cli.md says what the parser does, and nothing else: options, defaults, usage, examples, JSON, variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from bbmr_client.commands.app import make_parser
from bbmr_client.commands.examples import EXAMPLES, as_text
from bbmr_client.commands.help import plain
from bbmr_client.config import Config, EncodeDefaults, read_config
from bbmr_client.reports.encode_report import EncodeReport, InfoReport

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
GROUP: Any = make_parser()
COMMANDS: dict[str, Any] = dict(GROUP.commands.items())
OWN_PAGES = [name for name in COMMANDS if name != "decode"]


def section(command: str) -> str:
    """The section of a command, or with "" that of all of them."""
    return titled(f"`bbmr-client {command}`" if command else "What holds for every command")


def titled(title: str) -> str:
    assert PAGE.count(f"## {title}\n") == 1
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> Iterator[tuple[str, str]]:
    """(option, default) of every row of the tables of options."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 2 and cells[0].startswith("`-"):
            default = re.search(r"; (?:(needed)|default: (`.*`))$", cells[1])
            name = cells[0].replace("\\|", "|").replace("`", "")
            yield name, (default[1] or default[2]) if default else ""


def context_of(command: Any) -> Any:
    whole = GROUP.make_context("bbmr-client", [], resilient_parsing=True)
    return (
        whole if command is GROUP else command.make_context(command.name, [], whole, resilient_parsing=True)
    )


def real(command: Any) -> Iterator[tuple[str, str]]:
    """Yields (option, default) of each option of the parser: the option as in the help, the default as in the page."""
    context = context_of(command)
    for param in command.get_params(context):
        if param.param_type_name != "option":
            continue
        shown, help = param.get_help_record(context)
        default = re.search(r"\[default: ([^;\]]*)", plain(help))
        yield shown, "needed" if param.required else f"`{default[1]}`" if default else ""


SHARED = dict(rows(section("").partition("| option of commands |")[2]))
"""Options that the page describes once for all commands that have them."""


@pytest.mark.parametrize("name", OWN_PAGES)
def test_the_options_of_a_command_with_their_defaults(name: str) -> None:
    written, found = dict(rows(section(name))), dict(real(COMMANDS[name]))
    assert not SHARED.keys() & written.keys()
    written |= {option: default for option, default in SHARED.items() if option in found}
    if name in ("encode", "reconstruct"):
        shared = dict(rows(titled("Many files")))
        assert not shared.keys() & written.keys()
        written |= shared
    found.pop("-h, --help")
    assert written == found


def test_the_options_of_all_commands() -> None:
    assert dict(rows(section("").partition("| option of commands |")[0])) == dict(real(GROUP))
    assert SHARED.keys() <= {option for name in OWN_PAGES for option, _ in real(COMMANDS[name])}


def test_an_alias_is_the_same_command() -> None:
    assert dict(real(COMMANDS["decode"])) == dict(real(COMMANDS["reconstruct"]))
    assert "`decode` is the same command" in section("reconstruct")


@pytest.mark.parametrize("name", OWN_PAGES)
def test_the_usage_line(name: str) -> None:
    command = COMMANDS[name]
    usage = " ".join(command.get_usage(context_of(command)).removeprefix("Usage:").split())
    assert section(name).splitlines()[1] == f"    {usage}"


def test_every_command_is_listed_and_none_besides() -> None:
    listed = re.findall(r"^\| \[`(\w+)`\]\(#bbmr-client-(\w+)\)", PAGE, re.MULTILINE)
    assert [name for name, _ in listed] == OWN_PAGES
    assert all(name == anchor for name, anchor in listed)
    assert re.findall(r"^## `bbmr-client (\w+)`$", PAGE, re.MULTILINE) == OWN_PAGES


@pytest.mark.parametrize("name", ["bbmr-client", "encode", "reconstruct", "compare"])
def test_the_examples_are_those_of_the_help(name: str) -> None:
    text = PAGE.partition("\n## ")[0] if name == "bbmr-client" else section(name)
    assert re.findall(r"Examples:\n\n```sh\n(.*?)\n```", text, re.DOTALL) == [as_text(EXAMPLES[name])]


def test_what_is_said_of_json() -> None:
    (sample,) = re.findall(r"```json\n(.*?)```", section("encode"), re.DOTALL)
    assert list(json.loads(sample)) == list(EncodeReport.model_fields)
    told = set(re.findall(r"`(\w+)`", section("info").partition("`--json`:")[2])) - {"encode"}
    only_encode = {"quality", "psnr", "psnr_of", "warnings", "seconds"}
    assert only_encode <= told
    shared = set(EncodeReport.model_fields) - only_encode
    assert told - only_encode == set(InfoReport.model_fields) - shared


def test_every_variable_is_listed() -> None:
    listed = set(re.findall(r"^\| `(BBMR_\w+)`", PAGE, re.MULTILINE))
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "client").rglob("*.py"))
    assert listed == set(re.findall(r'"(BBMR_[A-Z_]+)"', code))


def test_every_setting_of_the_file_is_shown_and_read(tmp_path: Path) -> None:
    (sample,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    top, _, encode = sample.partition("[encode]")
    for text, kind, others in ((top, Config, {"path", "encode"}), (encode, EncodeDefaults, set())):
        names = re.findall(r"^(?:# )?(\w+) =", text, re.MULTILINE)
        assert names == [one.name for one in fields(kind) if one.name not in others]
    for text in (sample, re.sub("^# ", "", sample, flags=re.MULTILINE)):
        (tmp_path / "config.toml").write_text(text, encoding="utf-8")
        assert read_config(tmp_path / "config.toml").encode.effort == 6


def test_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        file, _, anchor = target.partition("#")
        assert not file or (ROOT / "docs" / file).is_file(), target
        assert file or anchor in anchors, target
