"""A second reader of bbmr containers, written from docs/container.md alone: `python minimal.py in.bbmr out.png`."""

import io
import re
import struct
import sys
import zlib
from hashlib import blake2b

import msgpack
import numpy as np
from PIL import Image

# fmt: off
MIB, SIDES = 1 << 20, {"webp": 16_383, "avif": 32_768, "av1": 32_768, "jpeg": 65_500, "png": 65_536}
# Section 3: field: (required, type, least, most): of the value, or of its length
MAP = {"coding": (1, str, 1, 64), "data": (1, bytes, 0, 4 * MIB)}
ALPHA = {"codec": (1, str, 1, 64), "bytes": (1, int, 1, 256 * MIB), "digest": (1, bytes, 16, 16)}
PLANE = {**ALPHA, "rate": (1, int, 1, 16), "error": (1, int, 0, 255)}
HEADER = {
    "version": (1, int, 1, 1), "width": (1, int, 1, 65_535), "height": (1, int, 1, 65_535), "block": (1, int, 16, 1024),
    "rates": (1, list, 1, 5), "map": (1, dict, 2, 2), "planes": (1, list, 1, 5), "strength": (1, int, 0, 2),
    "downscaler": (1, str, 1, 64), "downscaler_version": (1, int, 0, 2**32 - 1), "strength_map": (0, dict, 2, 2),
    "alpha": (0, dict, 0, 4096), "model": (0, str, 1, 64), "icc": (0, bytes, 0, MIB), "exif": (0, bytes, 0, MIB),
    "xmp": (0, bytes, 0, MIB), "channels": (0, int, 1, 3), "dpi": (0, list, 2, 2), "!original": (0, bool, 1, 1),
}

def need(condition, why):
    if not condition:
        raise ValueError(why)

def check(fields, rules):
    need(isinstance(fields, dict), "an entry is no map")
    unknown = [field for field in fields if field not in rules]
    need(len(unknown) <= 64 and not any(field.startswith("!") for field in unknown), f"unknown: {unknown[0:1]}")
    for field, (required, kind, least, most) in rules.items():
        value = fields.get(field)
        need(type(value) is kind or (value is None and not required), f"{field} is missing, or of another type")
        size = least if value is None else value if kind in (int, bool) else len(value)
        need(least <= size <= most, f"{field} is out of range")
        need(type(value) is not str or re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]*", value), f"{field} is not a name")

def plain(value, depth=0):  # maps come as tuples of pairs, so that a key that comes twice is seen
    need(value is None or type(value) in (bool, int, float, str, bytes, list, tuple), "an extension type")
    need(depth < 8 or type(value) not in (list, tuple), "the header is too deep")
    if type(value) is not tuple:
        return [plain(item, depth + 1) for item in value] if type(value) is list else value
    need(all(type(key) is str for key, _ in value) and len(dict(value)) == len(value), "keys are wrong")
    return {key: plain(item, depth + 1) for key, item in value}

def unpack_header(body):  # → header, the entries of all pictures, the bytes it took
    unpacker = msgpack.Unpacker(strict_map_key=False, object_pairs_hook=tuple, max_array_len=4096, max_map_len=4096)
    unpacker.feed(body[: 4 * MIB])
    header = plain(unpacker.unpack())
    check(header, HEADER)
    alpha, original, icc = header.get("alpha"), header.get("!original"), header.get("icc")
    entries = header["planes"] + [alpha] * (alpha is not None)
    for entry in entries:
        check(entry, ALPHA if entry is alpha else PLANE)
    need(header["width"] * header["height"] <= 1 << 27 and header["block"] % 16 == 0, "size or block")
    need(header["rates"] == [entry["rate"] for entry in header["planes"]], "the planes are not those of the rates")
    need(header.get("channels") in (None, 3) or (header["channels"] == 1 and icc is None), "channels, or a profile")
    need(all(type(d) in (int, float) and 0 < d <= 1_000_000 for d in header.get("dpi") or []), "dpi")
    lone = header["rates"] == [1] and len(entries) == 1 and header.get("strength_map") is None
    need(not original or (lone and not entries[0]["error"] and not header["strength"]), "an original is not alone")
    allowed = ("webp", "png", "avif", "jpeg" if original else "av1")
    need(all(entry["codec"] in allowed for entry in entries), "a codec")
    return header, entries, unpacker.tell()

def unpack_map(field, rows, cols):  # section 5
    check(field, MAP)
    groups, data, stream = -(-rows * cols // 3), field["data"], zlib.decompressobj()
    if field["coding"] == "zlib":
        data = stream.decompress(data, groups + 1)
        need(stream.eof and not stream.unused_data, "a map goes on")
    need(field["coding"] in ("raw", "zlib") and len(data) == -(-7 * groups // 8), "a map's coding or length")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    values = bits[: 7 * groups].reshape(groups, 7) @ (1 << np.arange(6, -1, -1))
    flat = np.stack([values // 25, values // 5 % 5, values % 5], axis=1).reshape(-1)
    need(values.max() < 125 and not bits[7 * groups :].any() and not flat[rows * cols :].any(), "filling")
    return flat[: rows * cols].reshape(rows, cols)

def boxed(data):  # section 6, AV1 planes: the AVIF file around one
    bits = iter("".join(f"{byte:08b}" for byte in data[2 : 2 + data[1]]))

    def take(count):
        return int("0" + "".join(next(bits) for _ in range(count)), 2)

    def box(kind, *content):
        return struct.pack(">I4s", 8 + sum(map(len, content)), kind) + b"".join(content)

    profile, still, level, wide, high = take(3), take(2), take(5), take(4) + 1, take(4) + 1
    size, _tools, deep, mono = (take(wide) + 1, take(high) + 1), take(6), take(1), profile != 1 and take(1)
    colours = [take(8), take(8), take(8)] if take(1) else [2, 2, 2]
    srgb = not mono and colours == [1, 13, 0]
    full = 1 if srgb else take(1)
    x, y = (0, 0) if srgb else (1, 1) if mono else ((1, 1), (0, 0), (1, 0))[profile]
    chroma = mono << 4 | x << 3 | y << 2 | (take(2) if x and y and not mono else 0)
    frame = 2 + data[1]
    width = 1 + next(i for i in range(8) if data[frame + 1 + i] < 128)  # of the frame's length (LEB128)
    length = sum((data[frame + 1 + i] & 127) << 7 * i for i in range(width))
    ends = frame + 1 + width + length == len(data) and data[1] <= 12
    need(all(bits <= side.bit_length() for bits, side in zip((wide, high), size, strict=True)), "room for other sizes")
    need(data[0] == 0x0A and data[frame] == 0x32 and ends and still == 3 and not deep, "an AV1 plane is none")
    ftyp, n = box(b"ftyp", b"avif\0\0\0\0avifmif1miaf"), 1 if mono else 3
    ipco = box(b"ispe", struct.pack(">III", 0, *size)) + box(b"pixi", bytes([0, 0, 0, 0, n]), b"\x08" * n)
    ipco += box(b"av1C", bytes([0x81, profile << 5 | level, chroma, 0]))
    ipco += box(b"colr", b"nclx", struct.pack(">HHHB", *colours, full << 7))
    iprp = box(b"iprp", box(b"ipco", ipco), box(b"ipma", bytes.fromhex("00000000 00000001 0001 04 01 02 83 04")))
    iinf = box(b"iinf", bytes(5) + b"\1", box(b"infe", b"\2\0\0\0\0\1\0\0av01\0"))
    head = box(b"hdlr", bytes(8), b"pict", bytes(13)) + box(b"pitm", bytes(5) + b"\1") + iinf + iprp
    at = len(ftyp) + 12 + len(head) + 30 + 8  # "iloc" has 30 bytes
    iloc = box(b"iloc", bytes(4), struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, at, len(data)))
    return ftyp + box(b"meta", bytes(4), head, iloc) + box(b"mdat", data)

def decode(data, codec, size):  # section 6
    data, codec, limit = (boxed(data), "avif", "av1") if codec == "av1" else (data, codec, codec)
    image = Image.open(io.BytesIO(data), formats=[codec])
    fits = image.size == size and image.mode in ("RGB", "L") and max(size) <= SIDES[limit]
    need(fits and getattr(image, "n_frames", 1) == 1, "a plane is another picture than declared")
    end, at = {"webp": 8 + int.from_bytes(data[4:8], "little"), "avif": len(data)}, 2
    while codec == "jpeg" and data[at : at + 2] != b"\xff\xd9":
        at = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]").search(data, at).start()
        at += 0 if data[at + 1] == 0xD9 else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    end["jpeg"] = at + 2
    if codec == "png":  # a decoder would fill what is missing
        at, packed, kind = 8, b"", b""
        while kind != b"IEND" and at < len(data):
            kind, start, at = data[at + 4 : at + 8], at + 8, at + 12 + int.from_bytes(data[at : at + 4], "big")
            packed += data[start : at - 4] if kind == b"IDAT" else b""
        count, stream = size[1] * (1 + size[0] * len(image.mode)), zlib.decompressobj()
        whole = len(stream.decompress(packed, count + 1)) == count and stream.eof and kind == b"IEND"
        end["png"] = at if whole and data[24:29:4] == b"\x08\0" else 0  # of 8 bits, not interlaced
    need(end[codec] == len(data), "a plane does not end where its file does")
    return np.asarray(image.convert("RGB"))

def up(x):  # twice as many rows; then rows and columns change places
    a, b, c, d, e = (np.pad(x, ((2, 2), (0, 0), (0, 0)), mode="edge")[i : i + len(x)] for i in range(5))
    pair = np.stack([-3 * a + 29 * b + 111 * c - 9 * d, -9 * b + 111 * c + 29 * d - 3 * e], axis=1)
    return ((pair.reshape(-1, *x.shape[1:]) + 64) >> 7).transpose(1, 0, 2)

def composite(planes, rates):  # section 10; rates: of every pixel
    known, k = {}, np.zeros((*rates.shape, 3), np.int32)
    for r in (1, 2, 4, 8, 16):
        k = k if r == 1 else (k[::2, ::2] + k[::2, 1::2] + k[1::2, ::2] + k[1::2, 1::2] + 2) >> 2
        known[r] = k = np.where(rates[::r, ::r, None] == r, planes[r].astype(np.int32) << 5, k) if r in planes else k
    for r in (8, 4, 2, 1):
        k = np.where(rates[::r, ::r, None] <= r, known[r], up(up(k)).clip(0, 8160))
    return ((k + 16) >> 5).astype(np.uint8)

def read(data):
    """The bytes of a container → header, rate map, base (padded), alpha or None. Raises ValueError: refused."""
    need(data[:8] == b"\x8bBBM\r\n\x1a\n" and len(data) <= 256 * MIB, "this is no bbmr container")
    need(blake2b(data[:-16], digest_size=16).digest() == data[-16:], "the file was cut or changed")
    try:
        header, entries, at = unpack_header(data[8:-16])
        size, block, pictures, at = (header["width"], header["height"]), header["block"], [], at + 8
        wide, high = (-(-side // 16) * 16 for side in size)
        for entry in entries:
            n, r = entry["bytes"], 0 if header.get("!original") or entry is header.get("alpha") else entry["rate"]
            at, start = at + n + (2 if n < 1 << 8 else 3 if n < 1 << 16 else 5), at
            coded = data[at - n : at]
            need(data[start:at] == msgpack.packb(coded), "a bin that is not as declared")
            need(blake2b(coded, digest_size=16).digest() == entry["digest"], "a plane was changed")
            pictures.append(decode(coded, entry["codec"], (wide // r, high // r) if r else size))
        need(at == len(data) - 16, "something follows, or is missing")
        rows, cols = -(-high // block), -(-wide // block)
        rates = 2 ** unpack_map(header["map"], rows, cols)
        need(header["rates"] == sorted(set(rates.flat), reverse=True), "the rates are not those of the map")
        if header.get("strength_map") is not None:
            need(unpack_map(header["strength_map"], rows, cols).max() <= 2, "a strength above 2")
        short = ((0, high - size[1]), (0, wide - size[0]), (0, 0)) if header.get("!original") else 0
        planes = {r: np.pad(p, short, mode="edge") for r, p in zip(header["rates"], pictures, strict=False)}
        base = composite(planes, rates.repeat(block, 0).repeat(block, 1)[:high, :wide])
        return header, rates, base, pictures[-1][..., 1] if len(pictures) > len(planes) else None
    except Exception as error:  # Pillow's, msgpack's, zlib's
        raise ValueError(str(error) or type(error).__name__) from error

def picture(h, rates, base, alpha):
    image = Image.fromarray(base[: h["height"], : h["width"]]).convert("L" if h.get("channels") == 1 else "RGB")
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    return image

if __name__ == "__main__":
    picture(*read(np.fromfile(sys.argv[1], np.uint8).tobytes())).save(sys.argv[2])
