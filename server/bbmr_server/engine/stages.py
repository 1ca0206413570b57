"""The work of the thread pool: from a container to tiles or a picture, and from tiles to a file."""

from __future__ import annotations

import numpy as np
from PIL import Image

from bbmr_models.inference.tile_input import OutputPixels, TileSource
from bbmr_shared.compositing.composite import preview
from bbmr_shared.compositing.thumbnail import thumbnail
from bbmr_shared.images.output import OUTPUT_FORMATS, encode_picture

from .job import Job
from .model_store import ServedModel
from .request import Answer, PictureRequest


def without_network(request: PictureRequest) -> Image.Image:
    """The thumbnail, or the composite. Raises `PlaneError` if a plane is damaged."""
    if request.max_side is not None:
        return thumbnail(request.container, request.max_side, request.region)
    return preview(request.container, request.region)


def cut_tiles(job: Job, model: ServedModel) -> None:
    """Decode the planes that the job needs and fill `source`, `output`, `todo` and the counts of its tiles.

    Tiles that the network would leave as they are go to the output at once.

    Raises:
        PlaneError: a plane is damaged.
    """
    request = job.request
    area = request.region or (0, 0, request.container.width, request.container.height)
    source, output = TileSource(request.container, area, None, model.config), OutputPixels(area)
    for tile in source.tiles:
        if source.is_final(tile):
            output.put(tile, source.base(tile.seen))
        else:
            job.todo.append(tile)
    job.tiles = job.left = len(job.todo)
    job.estimate.network_units = float(sum(tile.seen[2] * tile.seen[3] for tile in job.todo))
    job.source, job.output = source, output


def encode(job: Job, picture: Image.Image, model: str) -> Answer:
    """The picture as a file; the job's `seconds` are filled in later."""
    data = encode_picture(picture, job.request.format)
    pixels = np.asarray(picture.convert("RGB")) if job.request.pixels else None
    mime = OUTPUT_FORMATS[job.request.format].mime
    return Answer(data, mime, picture.width, picture.height, model, pixels=pixels)


def from_source_file(request: PictureRequest, data: bytes, model: str) -> Answer:
    """The original as it is. Nothing is decoded: reading the container has checked its type and size."""
    container = request.container
    return Answer(data, OUTPUT_FORMATS[request.format].mime, container.width, container.height, model)
