"""Reads and writes image files as numpy arrays. Free of torch.

What comes in is always 8-bit RGB, upright, or an error that names the file: grey, palette and CMYK
images are converted, transparency is laid over white, of 16 bits the upper 8 are kept, and of an
animation or several pages the first.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from tcc.errors import DataError
from tcc.formats import atomic

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
_OPAQUE = ("1", "L", "P", "RGB", "CMYK", "YCbCr")
_TRANSPARENT = ("LA", "PA", "RGBA", "RGBa", "RGBX")
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_SIXTEEN_BIT_PGM = ("I", "PPM")  # as Pillow reads it, scaled to 16 bits
_UPRIGHT = {  # EXIF orientation → what undoes it; not Pillow's own, which trips over broken EXIF
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange height and width


def read_rgb(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """One image, (H, W, 3) uint8, turned as its EXIF orientation asks.

    ``size``: height and width in pixels that its labels are for. Where only the image as it is
    stored has them, the labels were made blind to EXIF, and it is not turned.

    Raises:
        DataError: the file is missing, truncated, corrupt, of another size than ``size`` or of a
            pixel format that has no one meaning as 8-bit RGB (32-bit, floating-point, Lab).
    """
    with _opened(path) as image:
        image.load()
        stored = image.height, image.width
        orientation = _orientation(image)
        upright = stored[::-1] if orientation in _SIDEWAYS else stored
        if size not in (None, stored, upright):
            raise DataError(
                f"{path}: the image has {upright[1]} x {upright[0]} pixels and its labels are for "
                f"{size[1]} x {size[0]} (width x height); they do not belong together"
            )
        if orientation in _UPRIGHT and size in (None, upright):
            return np.array(_to_rgb(image.transpose(_UPRIGHT[orientation]), path))
        return np.array(_to_rgb(image, path))


def read_indices(path: Path) -> NDArray[np.uint8]:
    """An 8-bit map of ids, (H, W): of a palette image the indices, not the colours.

    Raises:
        DataError: the file is missing, corrupt or not 8-bit with one channel.
    """
    with _opened(path) as image:
        if image.mode not in ("L", "P"):
            raise DataError(f"{path}: a map of ids has one 8-bit channel, this one is {image.mode}")
        return np.array(image)


def read_uint16(path: Path) -> NDArray[np.uint16]:
    """A 16-bit greyscale image, (H, W).

    Raises:
        DataError: the file is missing, corrupt or not 16-bit with one channel.
    """
    with _opened(path) as image:
        if image.mode not in _SIXTEEN_BITS:
            raise DataError(f"{path}: expected one 16-bit channel, this image is {image.mode}")
        return np.array(image).astype(np.uint16, copy=False)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels as `read_rgb` gives them, from the header alone.

    Raises:
        DataError: the file is missing or not an image.
    """
    with _opened(path) as image:
        if image.format == "PNG" and _has_late_exif(path, image):
            image.load()
        width, height = image.size
        turned = image.format != "TIFF" and _orientation(image) in _SIDEWAYS  # Pillow turns TIFF
        return (width, height) if turned else (height, width)


def write_png(path: Path, pixels: NDArray[Any]) -> None:
    """Writes (H, W, 3) uint8, (H, W) uint8 or (H, W) uint16 as PNG, atomically."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    atomic.write_bytes(path, buffer.getvalue())


def write_indices(path: Path, ids: NDArray[np.uint8], colours: NDArray[np.uint8]) -> None:
    """Writes a map of ids (H, W) as a palette PNG, atomically; ``colours``: (256, 3)."""
    picture, buffer = Image.fromarray(np.ascontiguousarray(ids)), io.BytesIO()
    picture.putpalette(colours.tobytes())
    picture.save(buffer, "PNG")
    atomic.write_bytes(path, buffer.getvalue())


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder itself, not of its sub-folders, by name.

    Raises:
        DataError: the folder is missing, cannot be read or holds no image.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if entry.name.lower().endswith(SUFFIXES)
                and not entry.name.startswith(".")
                and not _is_folder(entry)
            )
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder}: there is no such folder") from None
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    if not names:
        raise DataError(
            f"{folder}: no image in this folder itself (sub-folders are not read); "
            f"images end in {', '.join(SUFFIXES)}"
        )
    return [folder / name for name in names]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: told by who reads it
        return False


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except UnidentifiedImageError:
        what = "is not an image of a known format" if path.stat().st_size else "is empty"
        raise DataError(f"{path}: the file {what}") from None
    except (
        OSError,
        SyntaxError,  # Pillow's own for a broken PNG
        *(TypeError, ArithmeticError, LookupError),  # what its reader of TIFF trips over
        ValueError,
        EOFError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        if isinstance(error, OSError) and error.errno:  # the system's, not Pillow's
            raise DataError(f"{path}: cannot be read as an image ({error.strerror})") from None
        raise DataError(
            f"{path}: cannot be read as an image, it may be truncated or corrupt ({error})"
        ) from error


def _has_late_exif(path: Path, image: Image.Image) -> bool:
    """Whether EXIF lies behind the pixels of a PNG, where opening it does not look."""
    if "exif" in image.info:
        return False
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            num_bytes, kind = struct.unpack(">I4s", head)
            if kind == b"eXIf":
                return True
            file.seek(num_bytes + 4, os.SEEK_CUR)
    return False


def _orientation(image: Image.Image) -> int | None:
    """The EXIF orientation, None where there is none or the EXIF is broken."""
    try:
        # the base class's: that of PNG decodes the pixels, in search of EXIF behind them
        return Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except (SyntaxError, struct.error):
        return None


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode in _SIXTEEN_BITS or (image.mode, image.format) == _SIXTEEN_BIT_PGM:
        # Pillow's own conversion clips at 255
        return Image.fromarray((np.array(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(white, over).convert("RGB")
    if image.mode in _OPAQUE:
        return image.convert("RGB")
    raise DataError(
        f"{path}: pixel format {image.mode} is not read; save it as 8-bit RGB "
        f"(read are {', '.join((*_OPAQUE, *_TRANSPARENT, *_SIXTEEN_BITS))})"
    )
