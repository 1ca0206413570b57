"""ICC profiles made here, the smallest of their kind (ICC.1:2022, 8.3 and 8.4; version 2.4 and 4.3 headers)."""

from __future__ import annotations

import struct

import numpy as np

SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
D65, D50 = (0.3127, 0.3290), (0.9642, 1.0, 0.8249)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def rgb_profile(
    primaries: tuple[tuple[float, float], ...], gamma: float | None = None, version: int = 2
) -> bytes:
    """A matrix profile with the white of D65: the curve of sRGB, or a power; version 2 or 4."""
    matrix = to_d50(primaries)
    curve = _srgb_curve(version) if gamma is None else _power(gamma)
    tags = {b"desc": _text(b"made here", version), b"cprt": _copyright(version), b"wtpt": _xyz(D50)}
    for index, name in enumerate(b"rgb"):
        tags[bytes([name]) + b"XYZ"] = _xyz(tuple(matrix[:, index]))
        tags[bytes([name]) + b"TRC"] = curve
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags, version)


def grey_profile(gamma: float) -> bytes:
    """Grey with a power for its curve."""
    tags = {b"desc": _text(b"grey", 2), b"cprt": _copyright(2), b"wtpt": _xyz(D50), b"kTRC": _power(gamma)}
    return _profile(b"mntr", b"GRAY", b"XYZ ", tags, 2)


def cmyk_profile(inks: dict[tuple[int, int, int, int], tuple[float, float, float]]) -> bytes:
    """A table of the 16 full overprints, ink (0 or 1 each) → Lab; what is not named is black (L* = 0)."""
    grid = b""
    for index in range(16):
        ink = (index >> 3 & 1, index >> 2 & 1, index >> 1 & 1, index & 1)
        lightness, a, b = inks.get(ink, (0.0, 0.0, 0.0))
        grid += bytes([round(lightness * 2.55), round(a) + 128, round(b) + 128])
    identity = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    lut += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536) + identity * 4 + grid + identity * 3
    tags = {b"desc": _text(b"inks", 2), b"cprt": _copyright(2), b"wtpt": _xyz(D50), b"A2B0": lut}
    return _profile(b"prtr", b"CMYK", b"Lab ", tags, 2)


def to_d50(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Linear RGB with a D65 white → XYZ of the profile connection space."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([D65[0] / D65[1], 1.0, (1 - sum(D65)) / D65[1]])
    matrix = columns * np.linalg.solve(columns, white)
    scale = (BRADFORD @ D50) / (BRADFORD @ white)
    return np.linalg.inv(BRADFORD) @ np.diag(scale) @ BRADFORD @ matrix


def in_srgb(
    samples: np.ndarray, primaries: tuple[tuple[float, float], ...], gamma: float | None = None
) -> np.ndarray:
    """What a colour-managed screen shows in sRGB, computed here without Little CMS; clipped."""
    values = samples / 255.0
    linear = _from_srgb(values) if gamma is None else values**gamma
    linear = linear @ (np.linalg.inv(to_d50(SRGB)) @ to_d50(primaries)).T
    return np.clip(_to_srgb(np.clip(linear, 0, 1)) * 255 + 0.5, 0, 255).astype(np.uint8)


def _from_srgb(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _to_srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def _profile(kind: bytes, space: bytes, pcs: bytes, tags: dict[bytes, bytes], version: int) -> bytes:
    body, table, offset = b"", struct.pack(">I", len(tags)), 132 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", offset + len(body), len(value))
        body += value
    head = struct.pack(">I4sI", offset + len(body), bytes(4), {2: 0x02400000, 4: 0x04300000}[version])
    head += kind + space + pcs + struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(D50)[8:]
    return head.ljust(128, b"\0") + table + body


def _text(words: bytes, version: int) -> bytes:
    if version == 2:
        return b"desc" + bytes(4) + struct.pack(">I", len(words) + 1) + words + b"\0" + bytes(78)
    return _multi(words)


def _copyright(version: int) -> bytes:
    return b"text" + bytes(4) + b"free\0" if version == 2 else _multi(b"free")


def _multi(words: bytes) -> bytes:
    wide = words.decode().encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(wide), 28) + wide


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _power(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _srgb_curve(version: int) -> bytes:
    if version == 4:
        numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        return (
            b"para"
            + bytes(4)
            + struct.pack(">HH", 3, 0)
            + b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)
        )
    table = np.round(_from_srgb(np.linspace(0, 1, 1024)) * 65535).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", 1024) + table.tobytes()
