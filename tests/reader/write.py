"""A writer of bbmr containers, written from docs/container.md alone (section 14): `python write.py in.png out.bbmr`.

In: an RGB picture and a rate for every block. Out: the bytes of a container without a network.
"""

import io
import sys
import zlib
from hashlib import blake2b

import msgpack
import numpy as np
from PIL import Image


def digest(data):
    return blake2b(data, digest_size=16).digest()


def packed(symbols):
    """Section 5."""
    flat = np.ravel(symbols).tolist()
    flat += [0] * (-len(flat) % 3)
    bits = "".join(f"{25 * a + 5 * b + c:07b}" for a, b, c in zip(*[iter(flat)] * 3, strict=True))
    bits += "0" * (-len(bits) % 8)
    raw = int(bits, 2).to_bytes(len(bits) // 8, "big")
    deflated = zlib.compress(raw, 9)
    smaller = len(deflated) < len(raw)
    return {"coding": "zlib" if smaller else "raw", "data": deflated if smaller else raw}


def write(image, rates, block=128, **optional):
    """`rates`: [rows, cols], a rate for every block. `optional`: fields of the header, in the order of section 3."""
    rates = np.asarray(rates)
    width, height = image.size
    wide, high = -(-width // 16) * 16, -(-height // 16) * 16
    padded = np.pad(np.asarray(image), ((0, high - height), (0, wide - width), (0, 0)), mode="edge")
    used = sorted({int(rate) for rate in rates.flat}, reverse=True)
    entries, coded = [], []
    for rate in used:
        small = Image.fromarray(padded).resize((wide // rate, high // rate), Image.Resampling.BICUBIC)
        own = (rates == rate).repeat(block, 0).repeat(block, 1)[:high, :wide][::rate, ::rate, None]
        file = io.BytesIO()
        Image.fromarray(np.where(own, small, np.uint8(128))).save(file, "PNG")
        data = file.getvalue()
        coded.append(data)
        entries.append({"rate": rate, "codec": "png", "bytes": len(data), "digest": digest(data), "error": 0})
    header = {
        "version": 1,
        "width": width,
        "height": height,
        "block": block,
        "rates": used,
        "map": packed(np.log2(rates).astype(int)),
        "planes": entries,
        "strength": 0,
        "downscaler": "bicubic",
        "downscaler_version": 1,
        **optional,
    }
    body = b"\x8bBBM\r\n\x1a\n" + msgpack.packb(header) + b"".join(map(msgpack.packb, coded))
    return body + digest(body)


if __name__ == "__main__":
    picture = Image.open(sys.argv[1]).convert("RGB")
    grid = -(-picture.height // 128), -(-picture.width // 128)
    with open(sys.argv[2], "wb") as out:
        out.write(write(picture, np.full(grid, 2)))
