"""What must hold for any bytes whatever: the promises that fuzzing tries to break.

In: bytes. Out: the name of the outcome ("read", "decoded", or the declared error); anything else comes out as the
exception that it is. Limits are small, so that a damaged width costs milliseconds where it is accepted.
"""

from __future__ import annotations

from bbmr_shared import Container, Limits
from bbmr_shared.composite import preview
from bbmr_shared.errors import BbmrError, DigestMismatchError

LIMITS = Limits(max_pixels=1 << 17)
LONGEST_MESSAGE = 500


def check_read(data: bytes) -> str:
    """Read `data`, also without its digests where they differ; what was read must be written as it was."""
    outcome = _read(data, verify=True)
    if outcome == DigestMismatchError.__name__:
        return f"{outcome}, {_read(data, verify=False)}"
    return outcome


def check_preview(data: bytes, limits: Limits = LIMITS, verify: bool = False) -> str:
    """Read `data`, normally without its digests, and make the preview of it: the picture that its header declares."""
    try:
        container = Container.from_bytes(data, limits, verify)
    except BbmrError as error:
        check_message(error)
        return type(error).__name__
    try:
        picture = preview(container)
        picture.load()
    except BbmrError as error:
        check_message(error)
        return "decode " + type(error).__name__
    assert picture.size == (container.width, container.height)
    assert picture.mode == ("L" if container.channels == 1 else "RGB") + "A" * (container.alpha is not None)
    return "decoded"


def check_message(error: BbmrError) -> None:
    """A declared error is one printable line of reasonable length."""
    message = str(error)
    assert message, f"{type(error).__name__} without a message"
    assert message.isprintable(), f"not one printable line: {message!r}"
    assert len(message) < LONGEST_MESSAGE, f"a message of {len(message)} characters"


def _read(data: bytes, verify: bool) -> str:
    try:
        container = Container.from_bytes(data, LIMITS, verify)
    except BbmrError as error:
        check_message(error)
        return type(error).__name__
    again = Container.from_bytes(container.to_bytes(), LIMITS)
    assert again == container, "a container that was read is not written as it was"
    return "read"
