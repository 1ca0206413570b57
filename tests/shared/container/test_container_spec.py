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
from bbmr_shared.errors import BbmrError, MalformedContainerError, UnsupportedContainerError
from bbmr_shared.grid import ALIGN, RATES
from bbmr_shared.images import codecs
from bbmr_shared.images.names import KNOWN_BUT_ABSENT
from tests.shared import parts
from tests.vectors import make

PAGE = (Path(__file__).parents[3] / "docs" / "container.md").read_text()
REGISTRATION = Path(__file__).parents[3] / "docs" / "mime" / "registration.md"
INDEX: dict[str, Any] = json.loads(make.INDEX.read_text())


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
        """Name, type, meaning and "required" or "optional", the head of its table."""
        found, need = [], ""
        for names, *rest in rows(section("3 The header").split("**A plane's entry**")[0]):
            if rest[0] == "type":
                need = names
            else:
                found += [[name, *rest, need] for name in names.split(", ")]
        return found

    def test_every_field_is_listed_and_no_other(self) -> None:
        assert {name for name, *_ in self.fields()} == header.KNOWN_FIELDS

    def test_those_that_are_required_are(self) -> None:
        required = {name for name, *_, need in self.fields() if need == "required"}
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
        assert rows(section("3 The header"))[1] == ["version", "integer", str(header.VERSION)]
        assert f"at most {limits.MAX_DPI:,} |".replace(",", " ") in PAGE.replace(
            "; written as 64-bit floats", ""
        )
        assert f"multiple of {ALIGN}, {limits.MIN_BLOCK} … {limits.MAX_BLOCK};" in section("3 The header")

    def test_one_critical_field_is_known(self) -> None:
        known = [name for name in header.KNOWN_FIELDS if name.startswith("!")]
        assert known == [header.ORIGINAL]
        assert f"`{header.ORIGINAL}` is the one critical field that version 1 knows" in PAGE


class TestForwardCompatibility:
    @pytest.mark.parametrize(
        ("where", "added", "refused"),
        [
            ("header", {"camera": {"lens": "50 mm"}}, None),
            ("entry", {"tiles": [4, 4]}, None),
            ("header", {"Width": 3}, None),
            ("header", {"!colour": "cmyk"}, UnsupportedContainerError),
            ("entry", {"!delta": 2}, UnsupportedContainerError),
            ("entry", {"codec": "jxl"}, UnsupportedContainerError),
            ("header", {"version": 2}, UnsupportedContainerError),
            ("map", {"bits": 7}, MalformedContainerError),
        ],
    )
    def test_what_a_later_writer_adds_is_kept_or_refused(
        self, where: str, added: dict[str, Any], refused: type[BbmrError] | None
    ) -> None:
        fields, pictures = parts.fields_of(parts.container(40, 30, block=16, rates=[2, 4]).to_bytes())
        changed = dict(fields)
        if where == "header":
            changed |= added
        elif where == "map":
            changed["map"] = {**fields["map"], **added}
        else:
            changed["planes"] = [{**fields["planes"][0], **added}, *fields["planes"][1:]]
        data = write_frame(changed, pictures)
        if refused is None:
            assert Container.from_bytes(data).to_bytes() == data
        else:
            with pytest.raises(BbmrError) as caught:
                Container.from_bytes(data)
            assert type(caught.value) is refused


class TestNumbers:
    def test_limits_of_the_format(self) -> None:
        table = dict(rows(section("11 Reading").split("| finding")[0])[1:])
        sides = [limits.WEBP_MAX_SIDE, limits.AVIF_MAX_SIDE, limits.JPEG_MAX_SIDE]
        assert set(table) == {
            "a side of a WebP, AVIF (and AV1), JPEG plane",
            "scans of a JPEG",
            "chunks of a PNG or WebP, segments of a JPEG",
        }
        assert re.findall(r"\d\d \d{3}", table["a side of a WebP, AVIF (and AV1), JPEG plane"]) == [
            f"{side:,}".replace(",", " ") for side in sides
        ]
        assert [codecs.CODECS[name].max_side for name in ("webp", "avif", "jpeg")] == sides
        assert codecs.CODECS["av1"].max_side == limits.AVIF_MAX_SIDE
        assert numbers(table["scans of a JPEG"]) == [limits.JPEG_MAX_SCANS]
        assert numbers(table["chunks of a PNG or WebP, segments of a JPEG"]) == [limits.MAX_CHUNKS]

    def test_findings_and_their_errors(self) -> None:
        table = rows(section("11 Reading").split("| finding")[1])
        listed = {name for _, name in table}
        kinds = {kind.__name__ for kind in errors.ContainerError.__subclasses__()}
        assert listed == kinds | {"LimitExceededError"}
        assert set(INDEX["invalid"].values()) == listed, "every finding has a vector"

    def test_codecs(self) -> None:
        table = {name: written for name, _, written in rows(section("6 Planes").split("###")[0])[1:]}
        assert set(table) == set(codecs.CODECS) | KNOWN_BUT_ABSENT
        assert {name for name, written in table.items() if written.startswith("never")} == rules.ORIGINAL_ONLY
        assert {name for name, row in codecs.CODECS.items() if row.write is None} == rules.ORIGINAL_ONLY
        assert {name for name, written in table.items() if "lossless" in written} == {
            name for name, row in codecs.CODECS.items() if row.lossless
        }
        alpha = {name: kind for names, _, kind in rows(section("7 Alpha"))[1:] for name in names.split(", ")}
        assert set(alpha) == {name for name, row in codecs.CODECS.items() if row.write is not None}
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
    def dump(self) -> str:
        """A regular expression of the hexadecimal digits; "…" stands for what is left out."""
        found = re.search(r"```hex\n(.*?)```", PAGE, re.S)
        assert found
        pairs = []
        for line in found[1].splitlines():  # pairs of hexadecimal digits up to the annotation
            pairs += takewhile(re.compile(r"[0-9A-F]{2}|…").fullmatch, line.split())
        return "".join("(?:[0-9A-F]{2})+" if pair == "…" else pair for pair in pairs)

    def smallest(self) -> bytes:
        return (make.FOLDER / "v1" / "smallest.bbmr").read_bytes()

    def test_the_dump_is_the_vector(self) -> None:
        assert re.fullmatch(self.dump(), self.smallest().hex().upper())

    def test_it_is_the_smallest_of_the_vectors(self) -> None:
        sizes = {name: (make.FOLDER / "v1" / f"{name}.bbmr").stat().st_size for name in INDEX["valid"]}
        assert min(sizes, key=lambda name: sizes[name]) == "smallest"

    def test_what_the_text_says_of_it(self) -> None:
        read = Container.from_bytes(self.smallest())
        base = composite.composite(read.decode_planes(), read.rate_map, read.grid)
        text = section("15 An example")
        assert base.shape == (16, 16, 3)
        assert (base == base[0, 0]).all()
        assert f"one pixel, ({', '.join(str(v) for v in base[0, 0])})" in text
        assert f"K_16 = ({', '.join(str(32 * int(v)) for v in base[0, 0])})" in text
        assert pack_symbols(np.array([4], np.uint8)) == b"\xc8"


class TestIdentity:
    def test_the_signature_the_type_and_the_extension(self) -> None:
        table = dict(row for row in rows(PAGE.split("## 1 Terms")[0]) if row[0])
        assert bytes.fromhex(table["first bytes"]) == signature.SIGNATURE
        assert (table["media type"], table["file name extension"]) == (
            signature.MEDIA_TYPE,
            signature.EXTENSION,
        )
        form = dict(rows(REGISTRATION.read_text()))
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
