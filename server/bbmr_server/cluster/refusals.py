"""Carries declared errors between replicas as plain data.

Ray wraps an exception into one of its own, whose message is a traceback. It does not wrap a return value.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bbmr_shared.errors import BbmrError


@dataclass(frozen=True)
class Refusal:
    """A declared error as plain data. `attributes` are those of the exception object."""

    kind: type[BbmrError]
    arguments: tuple[object, ...]
    attributes: dict[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, error: BbmrError) -> Refusal:
        """Makes the data of `error`, without its traceback and cause."""
        return cls(type(error), error.args, dict(vars(error)))

    def error(self) -> BbmrError:
        """Returns the same error: class, message, headers and fields."""
        made = self.kind.__new__(self.kind, *self.arguments)
        made.args = self.arguments
        vars(made).update(self.attributes)
        return made
