"""Whatever an image file holds, `read_rgb` gives upright 8-bit RGB or an error that names it."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image

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


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_labels_that_are_blind_to_exif_get_the_image_as_it_is_stored(
    tmp_path: Path, orientation: int, kind: str
) -> None:
    path = tmp_path / f"a.{kind}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(path, exif=exif)
    with Image.open(path) as reopened:
        stored = np.array(reopened)
    upright = image.read_rgb(path)
    np.testing.assert_array_equal(image.read_rgb(path, upright.shape[:2]), upright)
    expected = stored if orientation == 6 else upright
    np.testing.assert_array_equal(image.read_rgb(path, (5, 7)), expected)
    if orientation == 6:
        assert upright.shape[:2] == (7, 5)
    height, width = upright.shape[:2]
    with pytest.raises(
        DataError, match=rf"a\.{kind}: .* {width} x {height} pixels .* for 8 x 9 \(width x height\)"
    ):
        image.read_rgb(path, (9, 8))


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
def test_broken_exif_does_not_spoil_the_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "maker", 72.0
    Image.fromarray(PIXELS).save(path, exif=exif)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    start = content.index(b"Exif") + 6
    for _ in range(200):
        broken = bytearray(content)
        for place in rng.integers(start, start + len(exif.tobytes()) - 6, 3):
            broken[place] = rng.integers(256)
        path.write_bytes(broken)
        assert sorted(image.read_rgb(path).shape) == [3, 5, 7]
        image.image_size(path)


@pytest.mark.parametrize("depth", ["grey", "rgb", "rgba"])
def test_of_16_bits_the_upper_8_are_kept(tmp_path: Path, depth: str) -> None:
    path = tmp_path / "a.png"
    channels = {"grey": 1, "rgb": 3, "rgba": 4}[depth]
    pixels = np.random.default_rng(1).integers(0, 65536, (5, 7, channels)).astype(">u2")
    pixels[..., 3:] = 65535
    _write_16_bit_png(path, pixels)
    expected = np.broadcast_to((pixels[..., :3] >> 8).astype(np.uint8), (5, 7, 3))
    np.testing.assert_array_equal(image.read_rgb(path), expected)


def _write_16_bit_png(path: Path, pixels: NDArray[np.uint16]) -> None:
    """Big endian (H, W, 1, 3 or 4); Pillow itself writes no 16-bit colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width, channels = pixels.shape
    colour = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*item) for item in chunks))


def test_a_transparent_palette_is_laid_over_white(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    source = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), mode="P")
    source.putpalette([9, 9, 9, 200, 100, 50])
    source.save(path, transparency=0)
    expected = [[[255] * 3, [200, 100, 50]], [[200, 100, 50], [255] * 3]]
    np.testing.assert_array_equal(image.read_rgb(path), expected)


def test_a_cmyk_photograph_looks_as_it_did(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    source = Image.new("RGB", (16, 16), (200, 100, 50))
    source.convert("CMYK").save(path, quality=95)
    assert np.abs(image.read_rgb(path).astype(int) - [200, 100, 50]).max() < 8


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tiff", "mpo"])
def test_of_several_frames_the_first_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    first, second = (Image.new("RGB", (16, 16), (value,) * 3) for value in (10, 200))
    first.save(path, save_all=True, append_images=[second])
    with Image.open(path) as reopened:
        assert reopened.n_frames == 2
    assert np.abs(image.read_rgb(path).astype(int) - 10).max() <= 1


def test_what_is_no_image_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "zero.png").touch()
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    for name, complaint in {
        "zero.png": "the file is empty",
        "text.jpg": "the file is not an image of a known format",
        "folder.png": "cannot be read as an image .*[Dd]irectory",
    }.items():
        for read in (image.read_rgb, image.read_indices, image.read_uint16, image.image_size):
            with pytest.raises(DataError, match=f"{name}: {complaint}"):
                read(tmp_path / name)


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
    (tmp_path / "sub.png").mkdir()
    (tmp_path / "sub.png" / "c.png").touch()
    assert [path.name for path in image.list_images(tmp_path)] == ["a.jpg", "b.PNG"]
    with pytest.raises(DataError, match=r"gone: there is no such folder"):
        image.list_images(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no image in this folder itself"):
        image.list_images(tmp_path / "empty")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_of_a_turned_tiff_is_that_of_its_pixels(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "turned.tif"
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(path, exif=exif)
    assert image.image_size(path) == image.read_rgb(path).shape[:2]
    assert image.image_size(path) == ((6, 4) if orientation >= 5 else (4, 6))


def test_exif_behind_the_pixels_of_a_png_turns_its_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    tiff = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = b"eXIf" + tiff
    late = struct.pack(">I", len(tiff)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path = tmp_path / "late.png"
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-12] + late + whole[-12:])  # before the last chunk
    assert image.read_rgb(path).shape == (6, 4, 3)
    assert image.image_size(path) == (6, 4)


def test_pgm_is_listed_and_read(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 7, np.uint8)).save(tmp_path / "grey.pgm")
    (path,) = image.list_images(tmp_path)
    assert (image.read_rgb(path) == 7).all()


@pytest.mark.parametrize("plain", [False, True])
def test_a_pgm_of_16_bits_is_read_as_a_png_of_them_is(tmp_path: Path, plain: bool) -> None:
    pixels = np.random.default_rng(2).integers(0, 65536, (5, 7)).astype(">u2")
    text = " ".join(map(str, pixels.flat)).encode()
    begin = b"%s\n7 5\n65535\n" % (b"P2" if plain else b"P5")
    (tmp_path / "a.pgm").write_bytes(begin + (text if plain else pixels.tobytes()))
    _write_16_bit_png(tmp_path / "a.png", pixels[..., None])
    as_png = image.read_rgb(tmp_path / "a.png")
    np.testing.assert_array_equal(image.read_rgb(tmp_path / "a.pgm"), as_png)
    np.testing.assert_array_equal(as_png[..., 0], pixels >> 8)
    Image.fromarray(pixels.astype(np.int32)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match=r"a\.tiff: pixel format I is not read"):  # 32 bits
        image.read_rgb(tmp_path / "a.tiff")


def test_ten_bits_of_a_pgm_are_scaled(tmp_path: Path) -> None:
    pixels = np.array([[0, 511, 512, 1023]], ">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5\n4 1\n1023\n" + pixels.tobytes())
    assert image.read_rgb(tmp_path / "a.pgm")[0, :, 0].tolist() == [0, 127, 128, 255]


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    loop, long = tmp_path / "loop", tmp_path / ("n" * 300)
    loop.symlink_to(loop)
    for folder, why in ((loop, "levels of symbolic links"), (long, "File name too long")):
        with pytest.raises(DataError, match=rf"{folder}: cannot be read \(.*{why}"):
            image.list_images(folder)
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.png: there is no such folder"):
        image.list_images(tmp_path / "a.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(DataError, match=r"closed: cannot be read \(Permission denied\)"):
        image.list_images(tmp_path / "closed")


def test_a_link_to_itself_is_told_by_who_reads_it(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        image.write_png(tmp_path / name, PIXELS)
    loop = tmp_path / "b.png"
    loop.symlink_to(loop)
    assert image.list_images(tmp_path) == [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    with pytest.raises(DataError, match=r"b\.png: cannot be read as an image \(.*symbolic links"):
        image.read_rgb(loop)


def test_what_the_system_refuses_is_not_called_corrupt(tmp_path: Path) -> None:
    path = tmp_path / f"{'n' * 300}.png"
    for read in (image.read_rgb, image.read_indices, image.read_uint16, image.image_size):
        with pytest.raises(DataError, match=r"nn\.png: cannot be read as an image \(File name too"):
            read(path)
