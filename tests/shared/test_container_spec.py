"""A reader written from docs/container.md alone, without `bbmr_shared`, reads the golden containers."""

from __future__ import annotations

import io
import json
import zlib
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from PIL import Image

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
VALID: dict[str, Any] = json.loads((VECTORS / "v1.json").read_text())["valid"]


def hashed(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def read(data: bytes) -> dict[str, Any]:
    """Sections 2, 3, 5, 6 and 7: the header, with `map` as rates, `planes` as arrays and `alpha` as one."""
    assert data[:8] == bytes.fromhex("8B 42 42 4D 0D 0A 1A 0A")
    assert hashed(data[:-16]) == data[-16:]
    unpacker = msgpack.Unpacker(raw=False)
    unpacker.feed(data[8:-16])
    header: dict[str, Any] = unpacker.unpack()
    assert header["version"] == 1
    padded = [16 * -(-header[side] // 16) for side in ("width", "height")]
    cols, rows = (-(-side // header["block"]) for side in padded)
    header["map"] = 2 ** symbols(header["map"], rows * cols).reshape(rows, cols)
    assert header["rates"] == sorted(set(header["map"].flat), reverse=True)
    for entry in header["planes"]:
        coded = unpacker.unpack()
        assert len(coded) == entry["bytes"]
        assert hashed(coded) == entry["digest"]
        image = Image.open(io.BytesIO(coded), formats=[entry["codec"]])
        assert image.size == (padded[0] // entry["rate"], padded[1] // entry["rate"])
        entry["samples"] = np.asarray(image.convert("RGB"))
    if "alpha" in header:
        coded = unpacker.unpack()
        assert hashed(coded) == header["alpha"]["digest"]
        image = Image.open(io.BytesIO(coded), formats=[header["alpha"]["codec"]])
        assert image.size == (header["width"], header["height"])
        header["alpha"] = np.asarray(image if image.mode == "L" else image.getchannel("G"))
    assert unpacker.tell() == len(data) - 24
    return header


def symbols(packed: dict[str, Any], count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Section 5, by whole numbers and strings of bits."""
    data = zlib.decompress(packed["data"]) if packed["coding"] == "zlib" else packed["data"]
    bits = "".join(format(byte, "08b") for byte in data)
    groups = [int(bits[7 * i : 7 * i + 7], 2) for i in range(-(-count // 3))]
    return np.array([s for g in groups for s in (g // 25, g // 5 % 5, g % 5)])[:count]


@pytest.mark.parametrize("name", VALID)
def test_the_text_is_enough_to_read_a_container(name: str) -> None:
    expected = VALID[name]
    found = read((VECTORS / "v1" / f"{name}.bbmr").read_bytes())
    assert [found["width"], found["height"], found["block"]] == [
        expected["width"],
        expected["height"],
        expected["block"],
    ]
    assert found["rates"] == expected["rates"]
    assert hashed(found["map"].astype(np.uint8).tobytes()).hex() == expected["rate_map"]
    assert found.get("model") == expected["model"]
    strengths = np.full(found["map"].shape, found["strength"])
    if "strength_map" in found:
        strengths = symbols(found["strength_map"], strengths.size).reshape(strengths.shape)
    assert strengths.tolist() == expected["strengths"]
    for key, value in expected["metadata"].items():
        assert found.get(key, b"").hex() == (value or "")
    if expected["alpha"] is not None:
        assert hashed(np.ascontiguousarray(found["alpha"]).tobytes()).hex() == expected["alpha"]
    # A file with the one rate 1 is the picture of its plane (section 10).
    if expected["rates"] == [1]:
        assert hashed(found["planes"][0]["samples"].tobytes()).hex() == expected["base"]
