"""Whatever an image file holds, `read_rgb` gives upright 8-bit RGB or an error that names it."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tcc.errors import DataError
from tcc.formats import image

PIXELS: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def _encoded(pixels: NDArray[np.uint8], kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "pixels",
    [
        PIXELS,
        PIXELS[..., 0],
        PIXELS[..., 0].astype(np.uint16) * 257,
        np.zeros((1, 1, 3), np.uint8),
    ],
    ids=["rgb", "grey", "uint16", "one pixel"],
)
def test_what_is_written_is_read(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.png"
    image.write_png(path, pixels)
    with Image.open(path) as reopened:
        np.testing.assert_array_equal(np.array(reopened), pixels)
    as_8_bit = (pixels >> 8 if pixels.dtype == np.uint16 else pixels).astype(np.uint8)
    expected = as_8_bit if pixels.ndim == 3 else np.repeat(as_8_bit[..., None], 3, axis=2)
    np.testing.assert_array_equal(image.read_rgb(path), expected)
    assert [item.name for item in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_usual_pixel_format_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tiff"
    source = Image.fromarray(PIXELS).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        source = Image.fromarray(np.array(source).astype(np.uint16) * 256)
    source.save(path)
    pixels = image.read_rgb(path)
    assert pixels.shape == (5, 7, 3)
    assert pixels.dtype == np.uint8
    if mode in ("L", "LA", "I;16"):
        np.testing.assert_array_equal(
            pixels[..., 0], np.array(Image.fromarray(PIXELS).convert("L"))
        )


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (3, 2), (200, 0, 0, 0)).save(path)
    assert (image.read_rgb(path) == 255).all()


def test_floating_point_images_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "depth.tiff"
    Image.fromarray(np.zeros((2, 2), np.float32)).save(path)
    with pytest.raises(DataError, match=r"depth\.tiff: pixel format F"):
        image.read_rgb(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a),
    }
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(path, exif=exif)
    np.testing.assert_array_equal(image.read_rgb(path), turns[orientation](PIXELS))
    assert image.image_size(path) == turns[orientation](PIXELS).shape[:2]


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(["PNG", "JPEG", "TIFF", "WEBP"]), data=st.data())
def test_a_broken_file_is_an_image_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    content = bytearray(_encoded(PIXELS, kind))
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("broken") / "broken.img"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert image.read_rgb(path).dtype == np.uint8


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_file_names_itself(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "half.img"
    content = _encoded(np.tile(PIXELS, (20, 20, 1)), kind)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"half\.img: cannot be read as an image.*truncated"):
        image.read_rgb(path)
    assert image.image_size(path) == (100, 140)  # the header is whole


def test_a_missing_file_names_itself(tmp_path: Path) -> None:
    for read in (image.read_rgb, image.read_indices, image.read_uint16, image.image_size):
        with pytest.raises(DataError, match=r"none\.png: there is no such file"):
            read(tmp_path / "none.png")


def test_maps_keep_their_values_and_refuse_colour(tmp_path: Path) -> None:
    palette, colour = tmp_path / "palette.png", tmp_path / "colour.png"
    indices = np.arange(6, dtype=np.uint8).reshape(2, 3)
    source = Image.fromarray(indices, mode="P")
    source.putpalette([channel for value in range(256) for channel in (255 - value, value, 9)])
    source.save(palette)
    image.write_png(colour, PIXELS)
    np.testing.assert_array_equal(image.read_indices(palette), indices)
    for read in (image.read_indices, image.read_uint16):
        with pytest.raises(DataError, match=r"colour\.png.*RGB"):
            read(colour)


def test_images_are_listed_by_name_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "SOURCE.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.png").touch()
    assert [path.name for path in image.list_images(tmp_path)] == ["a.jpg", "b.PNG"]
    with pytest.raises(DataError, match=r"gone: there is no such folder"):
        image.list_images(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no image in this folder itself"):
        image.list_images(tmp_path / "empty")
