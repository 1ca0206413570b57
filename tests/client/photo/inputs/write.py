"""Write `docs/inputs.md`, the table of input files: `python -m tests.client.photo.inputs.write`."""

from __future__ import annotations

from pathlib import Path

from tests.client.photo.inputs import carried, modes, odd
from tests.client.photo.inputs.table import Row

PAGE = Path(__file__).parents[4] / "docs" / "inputs.md"

GROUPS: dict[str, list[Row]] = {
    "Modes and formats": modes.ROWS,
    "Orientation": carried.ORIENTATIONS,
    "Colour": carried.COLOURS,
    "Metadata": carried.SAID,
    "Sizes": odd.SIZES,
    "Several pictures in one file": odd.SEVERAL,
    "Names, and what is no photo": odd.NAMES,
    "Damaged and hostile files": odd.DAMAGED,
}

HEAD = """\
# What becomes of a file

Every file below is made by a script and read by the tests (`tests/client/photo/`):
encoded with every block at rate 1, packed, unpacked and previewed. *Kept sample by sample* means that the preview is
equal to the picture Pillow reads, set upright; for lossy sources, to what their decoder makes of them. This page is
written by `python -m tests.client.photo.inputs.write`, and a test keeps it up to date: {count} files.

Words in “quotes” are what `bbmr-client encode` says: an error on one line with exit status 1, or a warning, which the
JSON report lists under `warnings`.

In short:

- The content of a file decides what it is, not its name. JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF, JPEG 2000, PPM, QOI,
  PCX and TGA are read; HEIF and JPEG XL with `pip install 'bbmr[formats]'` (pillow-heif, pillow-jxl-plugin).
- Size is checked in the header, before anything is decoded: at most 65,535 pixels a side and 134 megapixels.
- A picture is set upright exactly once. EXIF then says 1, its sizes are those of the upright picture, and a thumbnail
  that still lies on its side is unlinked; maker notes stay byte for byte. XMP says 1 too.
- An RGB profile is kept byte for byte beside untouched samples. CMYK, grey and L\\*a\\*b\\* go through their profile
  to sRGB (relative colorimetric, black point compensation). A profile that cannot be used is passed over.
- `--metadata all` (default) keeps EXIF, XMP, the profile and pixels per inch; `icc` only the profile; `none` nothing,
  and brings the colours to sRGB first, so that wide gamut does not turn pale.
- `--keep-smaller` lets a JPEG, PNG, WebP or AVIF file that has fewer bytes than the container would have stand for
  itself inside it, byte for byte. It must be upright and without alpha, and `--metadata` must be `all`: what else
  a file may hold cannot be told for certain.
- Metadata that are damaged or larger than 1 MiB are left out; a picture that is damaged or cut short is refused. The
  one thing that cannot be told is a JPEG damaged inside its scans: libjpeg carries on, and reports it to nobody.
"""

MEASURED = """\
A JPEG of 12000 × 9000 pixels (the sample photo enlarged, 7.1 MB), read and encoded at rate 4 as lossless WebP, one
process, peak resident memory; measured on two shared CPU cores with other work on them, Python 3.11, Pillow 13.0:

| step | peak | time |
|---|---|---|
| reading (Pillow's copy has 432 MB, ours 324 MB) | 790 MB | 0.5 to 1.3 s |
| encoding, `--effort 0` | 1102 MB | 9 s |
| encoding, `--effort 4` | 1032 MB | 15 s |"""

TAIL = """\

## What a large photo takes

{measured}
"""


def page() -> str:
    """The whole page."""
    count = sum(len(rows) for rows in GROUPS.values())
    parts = [HEAD.format(count=count)]
    for title, rows in GROUPS.items():
        parts.append(f"\n## {title}\n\n| file | what it is | what happens |\n|---|---|---|\n")
        parts += [f"| `{row.file}` | {_cell(row.what)} | {_cell(row.sentence)} |\n" for row in rows]
    parts.append(TAIL.format(measured=MEASURED))
    return "".join(parts)


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("*a*b*", "\\*a\\*b\\*")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
