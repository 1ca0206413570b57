"""Refuses the options that are reserved for a later release, with a message that names the option to use now."""

from __future__ import annotations

from typing import Any

from bbmr_client.commands.help import Command
from bbmr_shared.errors import UsageError


class CheckedCommand(Command):
    """A command that refuses -q and --quality if it has --quiet."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. -q means the quality in other encoders, and meant --quiet in earlier releases.

        Raises:
            UsageError: -q or --quality is among the options.
        """
        words = args[: args.index("--")] if "--" in args else args
        if any("--quiet" in param.opts for param in self.params) and not ctx.resilient_parsing:
            for word in words:
                if word == "--quality" or word.startswith(("-q", "--quality=")):
                    raise UsageError(
                        "-q means --quality, which comes with lossy planes and is not in this release; "
                        "for fewer messages write --quiet"
                    )
        return super().parse_args(ctx, args)
