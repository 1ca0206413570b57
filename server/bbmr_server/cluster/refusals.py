"""How a refusal travels between replicas: an error of ours in, plain data over the wire, the same error out.

Ray would wrap an exception into one of its own, whose message is a traceback. An answer is not wrapped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bbmr_shared.errors import BbmrError


@dataclass(frozen=True)
class Refusal:
    """A declared error, to be raised on the other side. `facts` are what its constructor kept."""

    kind: type[BbmrError]
    arguments: tuple[object, ...]
    facts: dict[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, error: BbmrError) -> Refusal:
        """What is sent of `error`; its traceback stays where it was raised."""
        return cls(type(error), error.args, dict(vars(error)))

    def error(self) -> BbmrError:
        """The error again, of the same class, with the same words, headers and fields."""
        made = self.kind.__new__(self.kind, *self.arguments)
        made.args = self.arguments
        vars(made).update(self.facts)
        return made
