"""The header map of a container: its fields, their types, and the field rule.

Field rule, for the header and every entry in it: an unknown field is preserved and ignored, unless its name starts with
"!": then it is critical, and a reader that does not know it refuses the file. The rules module checks fields together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bbmr_shared.errors import LimitExceededError, MalformedContainerError, UnsupportedContainerError
from bbmr_shared.limits import DEFAULT_LIMITS, MAX_DPI, MAX_NAME, Limits

from .rules import check_together
from .strict_msgpack import check_value

VERSION = 1
CRITICAL = "!"
ORIGINAL = "!original"
"""The only plane is the source file itself. Critical: a reader without it would look for a padded plane."""
DIGEST_BYTES = 16
NAME_PATTERN = f"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}"
"""Names of codecs, codings, downscalers and weights. They are used in terminals, paths and logs: so few characters."""

Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
Density = Annotated[float, Field(gt=0, le=MAX_DPI, allow_inf_nan=False)]
Digest = Annotated[bytes, Field(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]


class _Open(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    @property
    def extra(self) -> dict[str, object]:
        """Returns the unknown optional fields in the order of the file."""
        return dict(self.model_extra or {})


class PackedMap(BaseModel):
    """A per-block map as bytes. It has no other fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    coding: Name
    data: bytes


class PictureEntry(_Open):
    """The entry of a coded picture: codec, length in bytes and BLAKE2b-128."""

    codec: Name
    size: int = Field(alias="bytes", ge=1)
    digest: Digest


class PlaneEntry(PictureEntry):
    """The entry of a plane, with its rate and its coding error byte (0 = lossless)."""

    rate: int = Field(ge=1, le=16)
    error: int = Field(ge=0, le=255)


class Header(_Open):
    """The known fields of version 1; optional fields are None if the file has none."""

    version: int
    width: Count
    height: Count
    block: Count
    rates: list[int] = Field(min_length=1, max_length=5)
    map: PackedMap
    planes: list[PlaneEntry] = Field(min_length=1, max_length=5)
    strength: int = Field(ge=0, le=2)
    downscaler: Name
    downscaler_version: int = Field(ge=0, lt=1 << 32)
    strength_map: PackedMap | None = None
    alpha: PictureEntry | None = None
    model: Name | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    channels: int | None = Field(default=None, ge=1, le=3)
    dpi: list[Density] | None = Field(default=None, min_length=2, max_length=2)
    original: bool | None = Field(default=None, alias="!original")

    @property
    def mode(self) -> str:
        """Returns Pillow's mode of the picture: L or RGB, with A if there is an alpha channel."""
        return ("L" if self.channels == 1 else "RGB") + ("A" if self.alpha else "")

    @property
    def pictures(self) -> list[PictureEntry]:
        """Returns the entries of all coded pictures in the order of the file: planes, then alpha."""
        return [*self.planes, *([self.alpha] if self.alpha else [])]


KNOWN_FIELDS = frozenset(field.alias or name for name, field in Header.model_fields.items())
PLANE_FIELDS = frozenset(field.alias or name for name, field in PlaneEntry.model_fields.items())
ALPHA_FIELDS = frozenset(field.alias or name for name, field in PictureEntry.model_fields.items())


def parse_header(raw: Mapping[str, Any], limits: Limits) -> Header:
    """Returns the checked header of a file.

    Raises:
        UnsupportedContainerError: it has another version, or an unknown critical field.
        MalformedContainerError: a field is missing, or has a wrong type or value.
        LimitExceededError: dimensions, metadata or declared plane sizes are over the limits, or there are too many
            unknown fields.
    """
    _check_version(raw)
    entries = raw.get("planes")
    _refuse_critical(raw, KNOWN_FIELDS)
    for fields in (raw.get("alpha"), *(entries if isinstance(entries, list) else [])):
        if isinstance(fields, dict):
            _refuse_critical(fields, frozenset())
    try:
        header = Header.model_validate(raw)
    except ValidationError as error:
        raise MalformedContainerError(_first_complaint(error)) from None
    if header.original is False:
        raise MalformedContainerError(f"the header field {ORIGINAL}: it is true, or not there")
    _check_limits(header, limits)
    check_together(header)
    return header


def check_extra(extra: Mapping[str, object], known: frozenset[str], where: str, depth: int = 1) -> None:
    """Raise `MalformedContainerError` if an extra field has a known or critical name, or cannot be written.

    `depth` is the depth of the map that the fields are in; the header has 1.
    """
    for name in extra:
        if not isinstance(name, str) or name in known or name.startswith(CRITICAL):
            raise MalformedContainerError(f"{name!r} cannot be an extra field of {where}")
    check_value(dict(extra), DEFAULT_LIMITS.max_msgpack_depth + 1 - depth)


def check_name(name: str) -> None:
    """Raise `MalformedContainerError` unless `name` is of 1 to 64 letters, digits, dots, dashes and underscores."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise MalformedContainerError(
            f"{name[:MAX_NAME]!r} is not a name (letters, digits, '.', '-' and '_', at most {MAX_NAME})"
        )


def _check_version(raw: Mapping[str, Any]) -> None:
    version = raw.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise MalformedContainerError("the header names no version")
    if version != VERSION:
        raise UnsupportedContainerError(
            f"the container has format version {version}; this release reads version {VERSION}"
        )


def _refuse_critical(fields: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in fields:
        if name.startswith(CRITICAL) and name not in known:
            raise UnsupportedContainerError(
                f"the container needs the feature {name[1:64]!r}, which this release does not know"
            )


def _check_limits(header: Header, limits: Limits) -> None:
    limits.check_dimensions(header.width, header.height)
    limits.check_bytes("the ICC profile", len(header.icc or b""), limits.max_icc_bytes)
    limits.check_bytes("the EXIF block", len(header.exif or b""), limits.max_exif_bytes)
    limits.check_bytes("the XMP block", len(header.xmp or b""), limits.max_xmp_bytes)
    for entry in header.pictures:
        limits.check_bytes("a plane", entry.size, limits.max_plane_bytes)
    for fields in (header, *header.pictures):
        if len(fields.extra) > limits.max_extra_fields:
            raise LimitExceededError(f"the header holds more than {limits.max_extra_fields} unknown fields")


def _first_complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ascii(".".join(str(part)[:64] for part in first["loc"]))[1:-1] or "map"
    return f"the header field {where}: {first['msg'][:160]}"
