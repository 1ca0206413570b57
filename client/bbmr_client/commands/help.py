"""How `--help` looks: plain text, arguments without their Python types, and examples at the end.

In: typer's own commands. Out: classes to be given to it. rich is not used: it would cost a third of the start-up time.
"""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

from bbmr_client.commands.examples import EXAMPLES, as_text

ALIASES = {"decode": "reconstruct"}


class Command(TyperCommand):
    """One command."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line: PHOTO... and not {PHOTO}..."""
        return [re.sub(r"[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then options."""
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            records = [
                param.get_help_record(ctx) for param in self.get_params(ctx) if param.param_type_name == kind
            ]
            rows = [
                (_without_type(record[0]) if kind == "argument" else record[0], plain(record[1]))
                for record in records
                if record
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples."""
        _write_examples(formatter, EXAMPLES[ALIASES.get(self.name or "", self.name or "")])


class Group(TyperGroup):
    """All commands together."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples, and where to find more."""
        _write_examples(formatter, EXAMPLES["bbmr-client"])
        formatter.write("\n`bbmr-client COMMAND --help` shows the options of a command, and examples.\n")


def plain(help: str) -> str:
    """What typer puts into brackets, in words: "[default: (4)]" and "[0<=x<=9]"."""
    help = re.sub(r"\[default: \(([^()]*)\)", r"[default: \1", help)
    return re.sub(r"(-?[\d.]+)<=x<=(-?[\d.]+)", r"\1 to \2", help)


def _without_type(name: str) -> str:
    return re.sub(r" <[^>]*>$", "", name)


def _write_examples(formatter: Any, examples: Any) -> None:
    with formatter.section("Examples"):
        for line in as_text(examples).splitlines():
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
