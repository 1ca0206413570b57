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

Which picture files `bbmr-client encode` takes, and what it keeps of them. In short:

- The content of a file decides, not its name. JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF, JPEG 2000, PPM, QOI, PCX and TGA
  are read; HEIF and JPEG XL with `pip install '.[formats]'` in a checkout.
- Sizes are checked before anything is decoded: at most 65,535 pixels a side and 134 megapixels.
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

The tests make and read each of these {count} files (`tests/client/photo/`), and
`python -m tests.client.photo.inputs.write` writes this page. *Kept sample by sample*: the preview equals the picture
that Pillow reads, set upright; *kept as it decodes* says the same of lossy files. “Quoted” words are an error (exit
status 1; FILE is the name), or a warning, which the JSON report lists under `warnings`.
"""

MEASURED = """\
A JPEG of 12000 × 9000 pixels (7.1 MB), encoded at rate 4 as lossless WebP: peak memory of the process, on two shared
CPU cores, Python 3.11, Pillow 13.0:

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
    """Returns the whole page; files of a group with the same fate share a row."""
    count = sum(len(rows) for rows in GROUPS.values())
    parts = [HEAD.format(count=count)]
    for title, rows in GROUPS.items():
        parts.append(f"\n## {title}\n\n| file | what it is | what happens |\n|---|---|---|\n")
        same: dict[str, list[Row]] = {}
        for row in rows:
            same.setdefault(row.sentence, []).append(row)
        for sentence, files in same.items():
            names = ", ".join(f"`{row.file}`" for row in files)
            what = "; ".join(dict.fromkeys(row.what for row in files))
            parts.append(f"| {names} | {_cell(what)} | {_cell(sentence)} |\n")
    parts.append(TAIL.format(measured=MEASURED))
    return "".join(parts)


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("*a*b*", "\\*a\\*b\\*")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
