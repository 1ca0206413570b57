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

Which picture files `bbmr-client encode` takes, and what it keeps of them, for everyone who encodes. In short:

- The content of a file decides, not its name. JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF, JPEG 2000, PPM, QOI, PCX and TGA
  are read; HEIF and JPEG XL with `pip install '.[formats]'` in a checkout.
- At most 65,535 pixels a side and 134 megapixels, checked before anything is decoded.
- A picture is set upright once. The orientation in EXIF and XMP then says 1, the sizes in EXIF are the new ones, and a
  thumbnail on its side is unlinked; maker notes stay byte for byte.
- An RGB profile is kept byte for byte. CMYK, grey and L\\*a\\*b\\* go through their profile to sRGB (relative
  colorimetric, black point compensation). A profile that cannot be used is left out.
- `--metadata all` (default) keeps EXIF, XMP, the profile and pixels per inch; `icc` only the profile; `none` nothing,
  and converts the colours to sRGB.
- `--keep-smaller` keeps a JPEG, PNG, WebP or AVIF file byte for byte, if it is smaller than its container, upright and
  without alpha, and `--metadata` is `all`.
- Metadata that are damaged or larger than 1 MiB are left out. A picture that is damaged or cut short is refused, except
  for damage inside the scans of a JPEG, which libjpeg does not report.

The tests make and read {count} such files (`tests/client/photo/`). *Kept*: the preview equals the picture that Pillow
reads, set upright. *Refused*: the exit status is 1, and the message says why. “Quoted” words are a warning, which the
JSON report lists under `warnings`.
"""

TAIL = """\

## What a large photo takes

A JPEG of 12000 × 9000 pixels, at rate 4 on two shared CPU cores: up to 1.1 GB, 9 s with `--effort 0`, 15 s with
`--effort 4`.
"""


def page() -> str:
    """Returns the whole page; files of a group with the same fate share a row."""
    count = sum(len(rows) for rows in GROUPS.values())
    parts = [HEAD.format(count=count)]
    for title, rows in GROUPS.items():
        parts.append(f"\n## {title}\n\n| file | what happens |\n|---|---|\n")
        same: dict[str, list[Row]] = {}
        for row in rows:
            same.setdefault(row.sentence, []).append(row)
        for sentence, files in same.items():
            what = "; ".join(dict.fromkeys(row.what for row in files))
            parts.append(f"| {_cell(what)} | {_cell(sentence)} |\n")
    return "".join([*parts, TAIL])


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("*a*b*", "\\*a\\*b\\*")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
