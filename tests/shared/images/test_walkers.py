"""The walkers of picture formats: they yield every part of a good file, and end quietly where a damaged one does."""

from __future__ import annotations

import io
import struct
from itertools import pairwise

import pytest
from PIL import Image

from bbmr_shared.images.bits import BitReader
from bbmr_shared.images.boxes import boxes
from bbmr_shared.images.exif import entries, first_directory
from bbmr_shared.images.jpeg import END, NO_MARKER, SCAN, jpeg_segments
from bbmr_shared.images.png import png_chunks, png_stream, read_png_header
from bbmr_shared.images.webp import webp_chunks, webp_size


def coded(format: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((30, 20)).convert("RGB").save(out, format, **options)
    return out.getvalue()


class TestBits:
    def test_most_significant_first(self) -> None:
        bits = BitReader(b"\xa5\x0f", "big")
        assert [bits.take(count) for count in (1, 3, 4, 8)] == [1, 0b010, 0b0101, 0x0F]

    def test_least_significant_first(self) -> None:
        bits = BitReader(b"\xa5\x0f", "little")
        assert [bits.take(count) for count in (1, 3, 4, 8)] == [1, 0b010, 0b1010, 0x0F]

    def test_beyond_the_end(self) -> None:
        for order in ("big", "little"):
            bits = BitReader(b"\xff", order)
            assert bits.take(7) == 127
            with pytest.raises(IndexError):
                bits.take(2)


class TestBoxes:
    SHORT, LONG = b"\0\0\0\x0aabcdxy", b"\0\0\0\1long" + struct.pack(">Q", 18) + b"xy"

    def test_lengths_of_32_and_64_bits_and_to_the_end(self) -> None:
        data = self.SHORT + self.LONG + b"\0\0\0\0restxyz"
        assert [(box.kind, data[box.start : box.end]) for box in boxes(data)] == [
            (b"abcd", b"xy"),
            (b"long", b"xy"),
            (b"rest", b"xyz"),
        ]

    def test_one_that_goes_beyond_the_end_says_so(self) -> None:
        (box,) = boxes(self.SHORT[:-1])
        assert box.end == 10

    def test_one_that_is_shorter_than_its_head_is_the_last(self) -> None:
        (box,) = boxes(b"\0\0\0\2abcd" + self.SHORT)
        assert box.end < box.start

    def test_a_head_that_is_cut_off_is_not_yielded(self) -> None:
        assert len(list(boxes(self.SHORT + self.SHORT[:7]))) == 1


class TestPng:
    def test_the_chunks_are_the_file(self) -> None:
        data = coded("PNG")
        chunks = list(png_chunks(data))
        assert data[:8] + b"".join(data[chunk.start : chunk.end] for chunk in chunks) == data
        assert (chunks[0].kind, chunks[-1].kind) == (b"IHDR", b"IEND")

    def test_the_header_and_the_stream(self) -> None:
        data = coded("PNG")
        assert read_png_header(data)[:4] == (30, 20, 8, 2)
        assert read_png_header(data).stream_bytes == 20 * (1 + 3 * 30)
        at = data.index(b"IDAT")
        assert b"".join(png_stream(data)).startswith(data[at + 4 : at + 14])

    @pytest.mark.parametrize(
        ("depth", "colour", "interlace", "expected"),
        [(1, 3, 0, 7 * (1 + 1)), (16, 6, 0, 7 * (1 + 40)), (4, 0, 0, 7 * (1 + 3)), (8, 0, 1, 35 + 14)],
    )
    def test_bytes_of_the_stream(self, depth: int, colour: int, interlace: int, expected: int) -> None:
        """Of 5×7 pixels; the seven passes of an interlaced picture have 14 rows."""
        header = struct.pack(">IIBBBBB", 5, 7, depth, colour, 0, 0, interlace)
        assert read_png_header(bytes(16) + header).stream_bytes == expected

    def test_every_truncation_ends_quietly(self) -> None:
        data = coded("PNG")
        for length in range(len(data)):
            chunks = list(png_chunks(data[:length]))
            assert not chunks or chunks[-1].kind != b"IEND" or chunks[-1].end > length


class TestJpeg:
    @pytest.mark.parametrize("progressive", [False, True])
    def test_the_segments_are_the_file(self, progressive: bool) -> None:
        data = coded("JPEG", progressive=progressive)
        segments = list(jpeg_segments(data))
        assert data[:2] + b"".join(data[each.start : each.end] for each in segments) == data
        assert segments[-1].marker == END
        assert sum(each.marker == SCAN for each in segments) == (
            1 if not progressive else data.count(b"\xff\xda")
        )

    def test_filling_is_skipped_and_what_follows_the_end_is_left(self) -> None:
        data = coded("JPEG")
        filled = data[:2] + b"\xff" * 9 + data[2:] + b"tail"
        segments = list(jpeg_segments(filled))
        assert b"".join(filled[each.start : each.end] for each in segments) == data[2:]

    def test_no_marker_where_one_is_due(self) -> None:
        (segment,) = jpeg_segments(b"\xff\xd8text")
        assert (segment.marker, segment.start, segment.end) == (NO_MARKER, 2, 6)

    def test_every_truncation_ends_quietly(self) -> None:
        data = coded("JPEG")
        for length in range(len(data)):
            segments = list(jpeg_segments(data[:length]))
            assert not segments or segments[-1].marker != END


class TestWebp:
    @pytest.mark.parametrize(
        "options", [{}, {"lossless": True}, {"xmp": b"<x/>"}], ids=["lossy", "lossless", "extended"]
    )
    def test_chunks_and_size(self, options: dict[str, object]) -> None:
        data = coded("WEBP", **options)
        assert webp_size(data) == (30, 20)
        chunks = list(webp_chunks(data))
        assert chunks[-1].next == len(data)
        assert all(one.next + 8 == other.start for one, other in pairwise(chunks))

    def test_a_size_that_is_cut_off(self) -> None:
        data = coded("WEBP")
        assert webp_size(data[:29]) is None
        assert webp_size(data[:10]) is None


class TestExif:
    def test_an_entry_that_is_cut_off_has_no_value(self) -> None:
        block = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 0x0112, 3, 1, 6)
        assert first_directory(block, "<") == 8
        (entry,) = entries(block, "<", 8)
        assert (entry.at, entry.tag, entry.type, entry.values, entry.value) == (10, 0x0112, 3, 1, 6)
        (cut,) = entries(block[:-1], "<", 8)
        assert cut.value is None
        with pytest.raises(struct.error):
            list(entries(block[:-5], "<", 8))
