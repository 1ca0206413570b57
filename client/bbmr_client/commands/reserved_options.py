"""Refuses -q where it is not the quality, because it meant --quiet in earlier releases."""

from __future__ import annotations

from typing import Any

from bbmr_client.commands.help import Command
from bbmr_shared.errors import UsageError


class CheckedCommand(Command):
    """A command that refuses -q if it has --quiet and no --quality."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments.

        Raises:
            UsageError: -q is among the options.
        """
        words = args[: args.index("--")] if "--" in args else args
        known = {name for param in self.params for name in param.opts}
        means_quiet = "--quiet" in known and "--quality" not in known and not ctx.resilient_parsing
        if means_quiet and any(word.startswith("-q") for word in words):
            raise UsageError(
                f"-q means the quality, which {self.name} does not take; for fewer messages write --quiet"
            )
        return super().parse_args(ctx, args)
