"""docs/container.md says what the code does: every number, field, limit and example on that page that a test can reach.

That the page is enough to read a container is shown by `tests/reader/minimal.py`, that it is enough to composite one
by `test_composite_spec.py`.
"""

from __future__ import annotations

import json
import re
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bbmr_shared import errors, limits
from bbmr_shared.compositing import composite
from bbmr_shared.container import Container, header, rules, signature
from bbmr_shared.container.block_maps import pack_symbols
from bbmr_shared.container.frame import write_frame
from bbmr_shared.container.header_writer import header_map
from bbmr_shared.errors import BbmrError
from bbmr_shared.grid import ALIGN, RATES
from bbmr_shared.images import codecs
from tests.shared import parts
from tests.vectors import make

PAGE = (Path(__file__).parents[3] / "docs" / "container.md").read_text()
INDEX: dict[str, Any] = json.loads(make.INDEX.read_text())
MAX = limits.DEFAULT_LIMITS


def section(title: str) -> str:
    """The text below a heading, up to the next one of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(title)}.*?$\n(.*?)(?=^#{{1,2}} |\Z)", PAGE, re.M | re.S)
    assert found, title
    return found[2]


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, without code marks."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]


def numbers(text: str) -> list[int]:
    """Whole numbers, with thin groups of digits ("65 535") joined and MiB multiplied out."""
    found = re.findall(r"(\d{1,3}(?: \d{3})+|\d+)( MiB)?", text)
    return [int(digits.replace(" ", "")) * (limits.MIB if unit else 1) for digits, unit in found]


class TestFields:
    def fields(self) -> list[list[str]]:
        table = rows(section("3 The header").split("**A plane's entry**")[0])
        return [[name, *rest] for names, *rest in table[1:] for name in names.split(", ")]

    def test_every_field_is_listed_and_no_other(self) -> None:
        assert {name for name, *_ in self.fields()} == header.KNOWN_FIELDS

    def test_those_that_are_required_are(self) -> None:
        required = {name for name, _, need, _ in self.fields() if need == "required"}
        code = {f.alias or name for name, f in header.Header.model_fields.items() if f.is_required()}
        assert required == code

    def test_they_are_written_in_this_order(self) -> None:
        data = (make.FOLDER / "v1" / "every-field.bbmr").read_bytes()
        written = [name for name in header_map(Container.from_bytes(data)) if name in header.KNOWN_FIELDS]
        order = [name for name, *_ in self.fields()]
        assert written == [name for name in order if name in written]
        assert set(order) - set(written) == {"channels", "!original"}  # they cannot go with the others

    def test_the_entries(self) -> None:
        text = section("3 The header").split("**A plane's entry**")[1].split("###")[0]
        assert {name for name, *_ in rows(text)[1:]} == header.PLANE_FIELDS
        assert (
            set(re.findall(r"`(\w+)`", text.split("**The entry of the alpha channel**")[1]))
            == header.ALPHA_FIELDS
        )

    def test_names_and_version(self) -> None:
        assert f"a string of 1 to {limits.MAX_NAME} characters" in PAGE
        assert rows(section("3 The header"))[1] == ["version", "integer", "required", str(header.VERSION)]
        assert f"at most {limits.MAX_DPI:,} |".replace(",", " ") in PAGE.replace(
            "; written as 64-bit floats", ""
        )

    def test_one_critical_field_is_known(self) -> None:
        known = [name for name in header.KNOWN_FIELDS if name.startswith("!")]
        assert known == [header.ORIGINAL]
        assert f"`{header.ORIGINAL}` is the one critical field that version 1 knows" in PAGE


class TestForwardCompatibility:
    def test_the_examples_of_the_table_behave_as_it_says(self) -> None:
        fields, pictures = parts.fields_of(parts.container(40, 30, block=16, rates=[2, 4]).to_bytes())
        seen = 0
        table = section("4 Field rule and versions")
        for where, code, reads in re.findall(r"^\| ([^|:]*): `([^`]*)`[^|]*\| ([^|]*) \|", table, re.M):
            added = json.loads("{" + code + "}")
            changed = dict(fields)
            if where == "header":
                changed |= added
            elif where == "a packed map":
                changed["map"] = {**fields["map"], **added}
            else:
                changed["planes"] = [{**fields["planes"][0], **added}, *fields["planes"][1:]]
            data = write_frame(changed, pictures)
            seen += 1
            if "refuses" in reads:
                kind = "MalformedContainerError" if "malformed" in reads else "UnsupportedContainerError"
                with pytest.raises(BbmrError) as caught:
                    Container.from_bytes(data)
                assert type(caught.value).__name__ == kind, (where, code)
            else:
                assert Container.from_bytes(data).to_bytes() == data
        assert seen == 8


class TestNumbers:
    def test_limits_of_the_format(self) -> None:
        table = dict(rows(section("11 Reading").split("Limits of a machine")[0])[1:])
        assert numbers(table["block"]) == [limits.MIN_BLOCK, limits.MAX_BLOCK]
        assert numbers(table["a name"]) == [limits.MAX_NAME]
        assert numbers(table["pixels per inch"]) == [limits.MAX_DPI]
        sides = [limits.WEBP_MAX_SIDE, limits.AVIF_MAX_SIDE, limits.JPEG_MAX_SIDE]
        assert re.findall(r"\d\d \d{3}", table["a side of a WebP, AVIF, JPEG plane"]) == [
            f"{side:,}".replace(",", " ") for side in sides
        ]
        assert [codecs.CODECS[name].max_side for name in ("webp", "avif", "jpeg")] == sides
        assert numbers(table["scans of a JPEG"]) == [limits.JPEG_MAX_SCANS]
        assert numbers(table["chunks of a PNG or WebP, segments of a JPEG"]) == [limits.MAX_CHUNKS]
        assert set(table) == {
            *(
                "",
                "block",
                "a name",
                "pixels per inch",
                "a side of a WebP, AVIF, JPEG plane",
                "scans of a JPEG",
            ),
            "chunks of a PNG or WebP, segments of a JPEG",
        } - {""}

    def test_limits_of_a_machine(self) -> None:
        table = dict(rows(section("11 Reading").split("Limits of a machine")[1].split("| finding")[0])[1:])
        assert numbers(table["file"]) == [MAX.max_container_bytes]
        assert numbers(table["picture"])[0::2] == [MAX.max_pixels, MAX.max_side]
        assert numbers(table["coded plane, coded alpha"]) == [MAX.max_plane_bytes]
        assert MAX.max_pixels == 2**27
        assert numbers(table["header"]) == [
            MAX.max_header_bytes,
            MAX.max_msgpack_depth,
            1,
            MAX.max_header_items,
            MAX.max_header_items,
            MAX.max_header_values,
        ]
        assert numbers(table["ICC, EXIF, XMP"]) == [MAX.max_icc_bytes]
        assert MAX.max_icc_bytes == MAX.max_exif_bytes == MAX.max_xmp_bytes
        assert numbers(table["unknown fields"]) == [MAX.max_extra_fields]

    def test_findings_and_their_errors(self) -> None:
        table = rows(section("11 Reading").split("| finding")[1])
        for _, name, status in table:
            assert getattr(errors, name).status == int(status)
        listed = {name for _, name, _ in table}
        kinds = {kind.__name__ for kind in errors.ContainerError.__subclasses__()}
        assert listed == kinds | {"LimitExceededError"}
        assert set(INDEX["invalid"].values()) == listed, "every finding has a vector"

    def test_codecs(self) -> None:
        table = {name: written for name, _, written in rows(section("6 Planes").split("###")[0])[1:]}
        assert set(table) == set(codecs.CODECS) | codecs.KNOWN_BUT_ABSENT
        assert {name for name, written in table.items() if written.startswith("never")} == rules.ORIGINAL_ONLY
        assert {name for name, row in codecs.CODECS.items() if row.write is None} == rules.ORIGINAL_ONLY
        assert {name for name, written in table.items() if "lossless" in written} == {
            name for name, row in codecs.CODECS.items() if row.lossless
        }
        alpha = {name: kind for name, _, kind in rows(section("7 Alpha"))[1:]}
        assert {name: codecs.CODECS[name].lossless for name in alpha} == {
            name: kind == "lossless" for name, kind in alpha.items()
        }

    def test_compositing(self) -> None:
        text = section("10 Compositing")
        near, mid, far, tail = 111, 29, -9, -3
        found = composite.KERNEL_NEAR, composite.KERNEL_MID, composite.KERNEL_FAR, composite.KERNEL_TAIL
        assert found == (near, mid, far, tail)
        assert "−3·x[i−2] + 29·x[i−1] + 111·x[i]   −  9·x[i+1] + 64) >> 7" in text
        assert sum(found) == 128
        assert f"{composite.FRACTION_BITS} fractional bits" in text
        assert f"{composite.MAX_LEVEL} = 255·{composite.UNIT}" in text
        assert f"multiple of {ALIGN}" in PAGE
        assert f"Level *r* ({', '.join(str(rate) for rate in reversed(RATES))})" in text

    def test_the_example_of_a_map(self) -> None:
        packed = pack_symbols(np.array([0, 1, 2, 3, 4, 0], np.uint8))
        assert f"`{packed.hex(' ').upper()}`" in section("5 Per-block maps")
        assert packed == bytes.fromhex("0F 7C")

    def test_the_coding_error(self) -> None:
        for mse, byte in ((0.0, 0), (1e-9, 1), (1.0, 81), (65_025.0, 241)):
            assert codecs.coding_error_byte(mse) == byte
        assert "byte = clamp(⌊10·log₂(mse) + 81.5⌋, 1, 255)" in PAGE

    def test_grey_is_the_luma_that_is_written(self) -> None:
        assert "grey = (19595·R + 38470·G + 7471·B + 32768) >> 16" in PAGE
        assert 19_595 + 38_470 + 7_471 == 1 << 16


class TestExample:
    def dump(self) -> bytes:
        found = re.search(r"```hex\n(.*?)```", PAGE, re.S)
        assert found
        pairs = []
        for line in found[1].splitlines():  # pairs of hexadecimal digits up to the annotation
            pairs += takewhile(re.compile(r"[0-9A-F]{2}").fullmatch, line.split())
        return bytes.fromhex(" ".join(pairs))

    def test_the_dump_is_the_vector(self) -> None:
        data = (make.FOLDER / "v1" / "smallest.bbmr").read_bytes()
        assert self.dump().hex(" ") == data.hex(" ")

    def test_it_is_the_smallest_of_the_vectors(self) -> None:
        sizes = {name: (make.FOLDER / "v1" / f"{name}.bbmr").stat().st_size for name in INDEX["valid"]}
        assert min(sizes, key=lambda name: sizes[name]) == "smallest"

    def test_what_the_text_says_of_it(self) -> None:
        read = Container.from_bytes(self.dump())
        base = composite.composite(read.decode_planes(), read.rate_map, read.grid)
        text = section("15 An example")
        assert base.shape == (16, 16, 3)
        assert (base == base[0, 0]).all()
        assert f"one pixel, ({', '.join(str(v) for v in base[0, 0])})" in text
        assert f"K_16 = ({', '.join(str(32 * int(v)) for v in base[0, 0])})" in text
        assert pack_symbols(np.array([4], np.uint8)) == b"\xc8"


class TestIdentity:
    def test_the_signature_the_type_and_the_extension(self) -> None:
        table = dict(row for row in rows(PAGE.split("Contents:")[0]) if row[0])
        assert bytes.fromhex(table["first bytes"]) == signature.SIGNATURE
        assert (table["media type"], table["file name extension"]) == (
            signature.MEDIA_TYPE,
            signature.EXTENSION,
        )
        form = dict(rows(section("17 Registration")))
        assert f"{form['Type name']}/{form['Subtype name']}" == signature.MEDIA_TYPE
        assert bytes.fromhex(form["Magic number(s)"]) == signature.SIGNATURE
        assert form["File extension(s)"] == signature.EXTENSION

    def test_every_link_inside_the_page_leads_somewhere(self) -> None:
        titles = re.findall(r"^#+ (.*)$", PAGE, re.M)
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors

    def test_the_files_it_names_exist(self) -> None:
        root = Path(__file__).parents[3]
        for name in re.findall(r"`((?:tests|docs)/[\w./-]+\.\w+)`", PAGE):
            assert (root / name).exists(), name
