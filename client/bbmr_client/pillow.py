"""The Pillow plugin: after `import bbmr_client.pillow`, Pillow opens and saves `.bbmr` like any other format.

    import bbmr_client.pillow
    from PIL import Image

    with Image.open("photo.bbmr") as picture:   # reads only the header
        picture.thumbnail((256, 256))           # composites only what that size needs
    picture.save("small.bbmr", rate=2)          # every option of `bbmr_client.encode`

The picture is the preview: the composite, without the network. Opening checks the header; loading also checks the
digests. Errors are Pillow's: an unreadable file is an `UnidentifiedImageError` or another `OSError`, too many pixels
are a `DecompressionBombError`, a wrong value of an option is a `ValueError`, an unknown option a `TypeError`.
"""

from __future__ import annotations

import mimetypes
from typing import IO, TYPE_CHECKING, Any
from warnings import warn

from PIL import Image, ImageFile, UnidentifiedImageError

from bbmr_shared.container.signature import EXTENSION, MEDIA_TYPE, SIGNATURE
from bbmr_shared.errors import BbmrError, LimitExceededError, MalformedContainerError, UsageError, one_line
from bbmr_shared.limits import DEFAULT_LIMITS, MAX_DPI, Limits

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

    from bbmr_shared.container import Container

FORMAT = "BBMR"
METADATA = ("icc_profile", "exif", "xmp", "dpi")
"""Keys of `Image.info`, and arguments of `Image.save` that override them."""


class BbmrImageFile(ImageFile.ImageFile):
    """A container as a Pillow image: size, mode and metadata at once, the pixels when they are needed."""

    format = FORMAT
    format_description = "Block-based rescaled picture"

    def _open(self) -> None:
        from bbmr_shared.container.frame import read_header
        from bbmr_shared.images.exif import EXIF_MARKER

        assert self.fp is not None
        try:
            header = read_header(self.fp)
        except LimitExceededError as error:
            raise Image.DecompressionBombError(str(error)) from error
        except BbmrError as error:
            # Not a SyntaxError: Pillow would then try other plugins, and the reason would be lost.
            raise UnidentifiedImageError(str(error)) from error
        self._size = (header.width, header.height)
        grey, alpha = header.channels == 1, header.alpha is not None
        self._mode = ("LA" if alpha else "L") if grey else ("RGBA" if alpha else "RGB")
        dpi = None if header.dpi is None else tuple(header.dpi)
        # With the marker, as for JPEG and PNG files, because Pillow's JPEG writer needs it.
        exif = None if header.exif is None else EXIF_MARKER + header.exif
        info = {"icc_profile": header.icc, "exif": exif, "xmp": header.xmp, "dpi": dpi}
        self.info.update({key: value for key, value in info.items() if value is not None})
        self._level = 1
        self.tile = [ImageFile._Tile(FORMAT.lower(), (0, 0, *self._size), 0, self._mode)]

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Choose to load the picture at 1/2, 1/4, 1/8 or 1/16: the smallest that is not below `size`.

        As with JPEG, a second call changes nothing. The mode stays as it is. Pictures with alpha are always loaded at
        full size, or their hidden colours would mix with the visible ones.
        """
        if not self.tile or size is None or self._level > 1 or self.mode in {"LA", "RGBA"}:
            return None
        from bbmr_shared.grid import RATES

        width, height = self._size
        scale = min(width // max(1, size[0]), height // max(1, size[1]))
        self._level = level = max((rate for rate in RATES if rate <= scale), default=1)
        self._size = (-(-width // level), -(-height // level))
        return self.mode, (0, 0, width / level, height / level)

    def load(self) -> PixelAccess | None:
        """Read the file, check its digests and composite the picture.

        Raises:
            OSError: the file is damaged or cut short.
        """
        if self.tile:
            picture = self._composite()
            self.im = picture.im
            self._mode, self._size = picture.mode, picture.size
            self.tile = []
            self.readonly = 0
            if self._exclusive_fp and self.fp is not None:
                self.fp.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        """Check the digests and the structure. Decodes nothing; the image cannot be used afterwards.

        Raises:
            OSError: the file is damaged or cut short.
        """
        if self.tile:
            self._container()
        super().verify()

    def load_seek(self, pos: int) -> None:
        """Does nothing. Its existence tells `ImageFile.Parser` that only a complete file can be loaded."""

    def _composite(self) -> Image.Image:
        from bbmr_shared.compositing.thumbnail import at_level

        container = self._container()
        try:
            return at_level(container, self._level)
        except BbmrError as error:
            raise OSError(str(error)) from error

    def _container(self) -> Container:
        from bbmr_shared.container import Container

        if self.fp is None:
            raise ValueError("Operation on closed image")
        self.fp.seek(0)
        data = self.fp.read(DEFAULT_LIMITS.max_container_bytes + 1)
        try:
            return Container.from_bytes(data)
        except BbmrError as error:
            raise OSError(str(error)) from error


def save_options() -> tuple[str, ...]:
    """Returns the options of `Image.save` for this format: the metadata, and every option of `bbmr_client.encode`."""
    from inspect import Parameter, signature

    from bbmr_client.encoding.encoder import encode

    parameters = signature(encode).parameters.values()
    return (*METADATA, *(one.name for one in parameters if one.kind is Parameter.KEYWORD_ONLY))


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(SIGNATURE)


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    from dataclasses import replace

    from bbmr_client.encoding.encoder import encode
    from bbmr_client.photo import load_photo

    options = dict(image.encoderinfo)
    unknown = sorted(set(options) - set(save_options()))
    if unknown:
        known = ", ".join(save_options())
        raise TypeError(f"unknown options for a .bbmr file: {', '.join(unknown)}; the options are {known}")
    metadata = {key: options.pop(key) for key in METADATA if key in options}
    limits = options.get("limits", DEFAULT_LIMITS)
    if not isinstance(limits, Limits):
        raise TypeError(f"limits is a bbmr_client.Limits, not {type(limits).__name__}")
    try:
        photo = load_photo(_with_metadata(image, metadata), limits)
        if "dpi" in metadata:
            turned = (photo.width, photo.height) != image.size
            photo = replace(photo, dpi=_density(metadata["dpi"], turned))
        container = encode(photo, **options)
    except (UsageError, MalformedContainerError) as error:  # the latter: a value that no container can hold
        raise ValueError(str(error)) from error
    except BbmrError as error:
        raise OSError(str(error)) from error
    for note in photo.notes:
        warn(note, UserWarning, stacklevel=3)  # at the line that called `Image.save`
    file.write(container.to_bytes())


def _save_all(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    appended = image.encoderinfo.pop("append_images", None)
    if appended or getattr(image, "n_frames", 1) > 1:
        raise ValueError("a .bbmr file holds one picture: leave out save_all and append_images")
    _save(image, file, filename)


def _with_metadata(image: Image.Image, metadata: dict[str, Any]) -> Image.Image:
    """The same picture with other metadata, without a copy of its pixels; None or an empty value removes a key."""
    other: Image.Image = object.__new__(type(image))
    other.__dict__.update(image.__dict__)
    other.info = dict(image.info)
    for key, value in metadata.items():
        if isinstance(value, Image.Exif):
            value = value.tobytes()
        elif key == "xmp" and isinstance(value, str):
            value = value.encode()
        if value and key != "dpi" and not isinstance(value, bytes):
            raise TypeError(f"{key} is bytes, not {type(value).__name__}")
        other.info[key] = value or None
    if "exif" in metadata:  # replaces the tags that were read before, and those of a TIFF file
        other._exif = Image.Exif()
        try:
            other._exif.load(other.info["exif"] or b"")
        except Exception as error:  # Pillow raises exceptions of many types
            raise ValueError(f"exif is no EXIF block: {one_line(error)}") from error
        other._exif._loaded = True
    return other


def _density(dpi: object, turned: bool) -> tuple[float, float] | None:
    """Pixels per inch across and down the upright picture."""
    if not dpi:
        return None
    pair = (dpi, dpi) if isinstance(dpi, int | float) else dpi
    try:
        x, y = (float(value) for value in pair)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ValueError(f"dpi is two numbers, not {dpi!r}") from None
    if not all(0 < value <= MAX_DPI for value in (x, y)):
        raise ValueError(f"dpi is above 0 and at most {MAX_DPI:g}, not {dpi!r}")
    return (y, x) if turned else (x, y)


Image.register_open(FORMAT, BbmrImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_save_all(FORMAT, _save_all)
Image.register_extension(FORMAT, EXTENSION)
Image.register_mime(FORMAT, MEDIA_TYPE)
mimetypes.add_type(MEDIA_TYPE, EXTENSION)
