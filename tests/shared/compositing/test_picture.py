"""From container to picture without a network: padding goes, alpha and metadata come back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bbmr_shared import Container
from bbmr_shared.compositing.composite import composite, preview, to_picture
from bbmr_shared.errors import PlaneError
from bbmr_shared.metrics import psnr_rgb
from tests.shared import parts


def test_a_preview_is_the_picture_without_its_padding() -> None:
    made = parts.container(101, 67, rates=[1])
    image = preview(made)
    assert (image.size, image.mode) == ((101, 67), "RGB")
    assert (np.asarray(image) == parts.picture(101, 67)).all()


def test_a_finer_rate_gives_a_nearer_preview() -> None:
    original = parts.picture(200, 120)
    quality = [
        psnr_rgb(original, np.asarray(preview(parts.container(200, 120, rates=[r])))) for r in (16, 8, 4, 2)
    ]
    assert quality == sorted(quality)
    assert quality[-1] > quality[0] + 4


def test_alpha_and_metadata_come_back() -> None:
    image = preview(parts.container(101, 67, alpha=True, icc=b"i", exif=b"e", xmp=b"x"))
    assert image.mode == "RGBA"
    assert (np.asarray(image)[..., 3] == parts.picture(101, 67, 2)[..., 0]).all()
    assert (image.info["icc_profile"], image.info["exif"], image.info["xmp"]) == (b"i", b"e", b"x")


def test_a_region_is_cut_with_its_own_alpha() -> None:
    made = parts.container(101, 67, alpha=True)
    base = composite(made.decode_planes(), made.rate_map, made.grid)
    whole = np.asarray(to_picture(base, made))
    region = np.asarray(to_picture(base[20:], made, (0, 20, 101, 30)))
    assert (region == whole[20:50]).all()
    corner = np.asarray(to_picture(base[10:, 40:], made, (40, 10, 50, 40)))
    assert (corner == whole[10:50, 40:90]).all()


def test_a_plane_that_does_not_decode_is_a_plane_error() -> None:
    made = parts.container(64, 64, rates=[2], codec="png")
    data = bytearray(made.planes[0].data)
    data[60] ^= 255
    broken = replace(made, planes=(replace(made.planes[0], data=bytes(data)),))
    read = Container.from_bytes(broken.to_bytes())
    with pytest.raises(PlaneError):
        preview(read)
