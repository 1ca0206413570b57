"""The promises that hold for any bytes, and that fuzzing tries to break.

Each returns the name of the outcome ("read", "decoded", or the declared error) and raises anything else. Limits are
small, so that an accepted damaged width costs only milliseconds.
"""

from __future__ import annotations

from bbmr_shared import Container, Limits
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container.block_maps import decode_map
from bbmr_shared.container.header import KNOWN_FIELDS
from bbmr_shared.container.strict_msgpack import pack
from bbmr_shared.errors import BbmrError, DigestMismatchError
from bbmr_shared.grid import BlockGrid
from tests.shared import parts

LIMITS = Limits(max_pixels=1 << 17)
LONGEST_MESSAGE = 500


def check_read(data: bytes) -> str:
    """Read `data`, also without its digests if they differ; a container that was read must be written unchanged."""
    outcome = _read(data, verify=True)
    if outcome == DigestMismatchError.__name__:
        return f"{outcome}, {_read(data, verify=False)}"
    return outcome


def check_preview(data: bytes, limits: Limits = LIMITS, verify: bool = False) -> str:
    """Read `data`, normally without its digests, and make its preview, which must be as its header declares."""
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
    written = container.to_bytes()
    assert Container.from_bytes(written, LIMITS) == container, "what was written is read as something else"
    assert _content(written) == _content(data), "a container that was read is not written as it was"
    return "read"


def _content(data: bytes) -> dict[str, object]:
    """The content of a container without digests, the coding of its maps, and fields that have no effect."""
    fields, pictures = parts.fields_of(data)
    said = {name: value for name, value in fields.items() if not (name in KNOWN_FIELDS and value is None)}
    if said.get("channels") == 3:
        del said["channels"]
    if "dpi" in said:
        said["dpi"] = [float(density) for density in said["dpi"]]
    blocks = BlockGrid(said["width"], said["height"], said["block"]).shape
    for name in {"map", "strength_map"} & set(said):
        said[name] = decode_map(said[name], blocks).tolist()
    entries = [*said.pop("planes"), said.pop("alpha", {})]
    for at, entry in enumerate(entries):
        said[f"picture {at}"] = sorted((key, pack(value)) for key, value in entry.items() if key != "digest")
    return {**{name: pack(value) for name, value in said.items()}, "pictures": pictures}
