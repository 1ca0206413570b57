"""How `--help` looks: plain text, arguments without their Python types, and examples at the end.

rich is not used: it would take a third of the start-up time.
"""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

from bbmr_client.commands.examples import EXAMPLES, as_text

ALIASES = {"decode": "reconstruct"}


class Command(TyperCommand):
    """The help of one command."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Returns the words of the usage line, with PHOTO... in place of {PHOTO}..."""
        return [re.sub(r"[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then options."""
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            rows = records(self, ctx, kind)
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        _write_examples(formatter, EXAMPLES[ALIASES.get(self.name or "", self.name or "")])


class Group(TyperGroup):
    """All commands together. summaries: command → its line in the list, so that no command is loaded for it."""

    summaries: dict[str, str]

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names of the commands."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries.items()))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, and where to find more."""
        _write_examples(formatter, EXAMPLES["bbmr-client"])
        formatter.write("\n`bbmr-client COMMAND --help` shows the options of a command, and examples.\n")


def records(command: Any, ctx: Any, kind: str) -> list[tuple[str, str]]:
    """Returns (how it is written, help) of every argument or option of a command. kind: "argument" or "option"."""
    params = [param for param in command.get_params(ctx) if param.param_type_name == kind]
    found = [record for param in params if (record := param.get_help_record(ctx))]
    return [(_without_type(name) if kind == "argument" else name, plain(help)) for name, help in found]


def plain(help: str) -> str:
    """Returns typer's notes in words: "[default: (4)]" and "[0<=x<=9]"."""
    help = re.sub(r"\[default: \(([^()]*)\)", r"[default: \1", help)
    return re.sub(r"(-?[\d.]+)<=x<=(-?[\d.]+)", r"\1 to \2", help)


def _without_type(name: str) -> str:
    return re.sub(r" <[^>]*>$", "", name)


def _write_examples(formatter: Any, examples: Any) -> None:
    with formatter.section("Examples"):
        for line in as_text(examples).splitlines():
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
