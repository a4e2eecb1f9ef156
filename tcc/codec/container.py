"""The scalable file, ``.tcc``: a small header, the base, and the enhancement where there is one.

    header        b"tc" · version, layers (4 bits each) · height · width · trials (6)
    base          length · checksum (4) · payload
    enhancement   checksum (4) · payload, which is the rest of the file

Trials: of each layer, the first bytes of the id of the trial that decodes it and of the SHA-256 of
its checkpoint. They are 4 and 2 of a single layer, 2 and 1 each of two. So who has the base's trial
alone finds it; who decodes all knows as much of both trials together as of a single one.

Height, width and length are LEB128 varints, in no more bytes than they need. A checksum is a CRC32,
little endian: the base's is of the header, its length and its payload; the enhancement's is of its
payload and goes on from the base's, so that it holds beside that base alone. So all but the
payloads is 24 bytes at most, below 16384 pixels a side and 2 MiB of base.

What lies behind the base is neither read nor checked by who wants the base alone.

A file that is damaged or was made to do harm is refused within the time and memory of its own
bytes, before anything of the image's size is made: its sizes here, and where it has too few bytes
for them in `tcc.codec.coding`. What no reader can tell is a file that is well formed, with
checksums that hold and bytes enough, from any other of its size: it takes what an image of that
size takes. Who decodes strangers' files bounds ``max_pixels``.
"""

from __future__ import annotations

import io
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path

from tcc.codec.fields import Fields, varint
from tcc.codec.geometry import Size
from tcc.errors import BitstreamError

MAX_PIXELS = 2**26  # of an image: 8192×8192
MAX_SIDE = 2**16  # pixels: a narrow image is padded to 16, and takes as many passes as it is long
MAX_LAYER_BYTES = 2**28  # of a payload: 32 bits for each of the most pixels

_MAGIC = b"tc"
_VERSION = 2
_LAYERS = ("base", "enhancement")
_ID_BYTES = {1: (4, 2), 2: (2, 1)}  # layers of a file → of the trial and the weights of each
_CHECKSUM_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class ModelId:
    """What a file says of the model of a layer: enough to find it, and to refuse another.

    ``trial``: the first bytes of the trial's id; ``weights``: of its checkpoint's SHA-256.
    """

    trial: bytes
    weights: bytes

    @classmethod
    def of(cls, trial_id: str, checkpoint_sha256: str, *, layers: int) -> ModelId:
        """From 16 and 64 hexadecimal digits, for a file of so many layers."""
        trial, weights = _ID_BYTES[layers]
        return cls(
            trial=bytes.fromhex(trial_id)[:trial],
            weights=bytes.fromhex(checkpoint_sha256)[:weights],
        )

    def matches(self, trial_id: str, checkpoint_sha256: str) -> bool:
        """Whether this may be the model of that trial with those weights."""
        found = bytes.fromhex(trial_id), bytes.fromhex(checkpoint_sha256)
        return found[0].startswith(self.trial) and found[1].startswith(self.weights)

    def __str__(self) -> str:
        return f"trial {self.trial.hex()}… of weights {self.weights.hex()}…"


@dataclass(frozen=True, kw_only=True)
class Container:
    """What a file holds.

    ``size``: of the original image; ``models``: of each layer that the file has, also where the
    base alone was read; ``layers``: the base's payload, then the enhancement's.
    """

    size: Size
    models: tuple[ModelId, ...]
    layers: tuple[bytes, ...]


def pack(container: Container) -> bytes:
    """The file of a container.

    Raises:
        BitstreamError: the image has no pixel, more than `MAX_PIXELS` or a side above `MAX_SIDE`,
            or a payload is longer than `MAX_LAYER_BYTES`.
    """
    assert len(container.layers) == len(container.models)
    refuse_size(container.size)
    for layer, payload in zip(_LAYERS, container.layers, strict=False):
        if fault := _length_fault(layer, len(payload)):
            raise BitstreamError(f"{fault}; scale the image down or cut it into parts")
    file = [_head(container)]
    checksum = zlib.crc32(file[0])
    for payload in container.layers:
        checksum = zlib.crc32(payload, checksum)
        file += [checksum.to_bytes(_CHECKSUM_BYTES, "little"), payload]
    return b"".join(file)


def refuse_size(size: Size) -> None:
    """Raises `BitstreamError` where an image has no pixel, or too many for a file."""
    if fault := _size_fault(size):
        raise BitstreamError(f"{fault}; scale it down or cut it into parts")


def unpack(
    data: bytes, *, name: str, layers: int | None = None, max_pixels: int = MAX_PIXELS
) -> Container:
    """The container of a file's bytes; ``name`` is the file's, for errors.

    ``layers``: how many are wanted, from the base up; None: all. Pixels are counted before anything
    is decoded, so that no file asks for more memory than an image of ``max_pixels``.

    Raises:
        BitstreamError: the file is of another format or version, damaged, cut off or too long, or
            has fewer layers.
    """
    return _parse(Fields(io.BytesIO(data), len(data), name), layers, max_pixels)


def read(path: Path, *, layers: int | None = None, max_pixels: int = MAX_PIXELS) -> Container:
    """The container of a file, as `unpack`; of unwanted layers nothing is read.

    Raises:
        BitstreamError: also where the file is missing or cannot be read.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would wait, a device never end
            raise BitstreamError(f"{path}: is a folder or device; expected a .tcc file")
        with path.open("rb", buffering=0) as file:  # a buffer would read on behind the base
            return _parse(Fields(file, found.st_size, str(path)), layers, max_pixels)
    except FileNotFoundError:
        raise BitstreamError(f"{path}: there is no such file") from None
    except OSError as error:
        raise BitstreamError(f"{path}: cannot be read ({error.strerror})") from error


def overhead(container: Container) -> tuple[int, ...]:
    """Bytes of the file beside the payloads, by layer that is held; the header counts as the
    base's."""
    _, *above = container.layers
    return len(_head(container)) + _CHECKSUM_BYTES, *(_CHECKSUM_BYTES for _ in above)


def _parse(fields: Fields, wanted: int | None, max_pixels: int) -> Container:
    assert wanted in (None, 1, 2)
    magic = fields.take(len(_MAGIC), "magic")
    if magic != _MAGIC:
        raise fields.error(f"magic is {magic!r}, a .tcc file begins with {_MAGIC!r}")
    version, count = divmod(fields.take(1, "version")[0], 16)
    if version != _VERSION:
        newer = "written by a newer tcc; update tcc"
        older = "written by an older tcc, or damaged; encode its image again"
        raise fields.error(
            f"version is {version}, this tcc reads {_VERSION}: "
            f"{newer if version > _VERSION else older}"
        )
    if count not in _ID_BYTES:
        raise fields.error(
            f"number of layers is {count}, 1 or 2 are allowed; the file is damaged, copy it again"
        )
    size = fields.varint("height"), fields.varint("width")
    if fault := _size_fault(size):
        raise fields.error(f"{fault}; the file is damaged, copy it again")
    if (pixels := size[0] * size[1]) > max_pixels:
        raise fields.error(
            f"size is {size[0]}×{size[1]} ({pixels} pixels), asked for were {max_pixels} pixels at "
            "most: raise --max-pixels if you trust the file"
        )
    trial, weights = _ID_BYTES[count]
    models = tuple(
        ModelId(trial=fields.take(trial, "trial id"), weights=fields.take(weights, "weights' hash"))
        for _ in range(count)
    )
    layers = [_payload(fields, _LAYERS[0], fields.varint("length of the base"))]
    if count == 1 and fields.left:
        raise fields.error(
            f"bytes behind the base are {fields.left}, none are allowed in a file of one layer; "
            "the file is damaged, copy it again"
        )
    if wanted is not None and wanted > count:
        raise fields.error(
            f"number of layers is {count}, {wanted} were asked for: the file has no enhancement; "
            "leave --layer out"
        )
    if min(count, wanted or count) == 2:
        layers.append(_payload(fields, _LAYERS[1], None))
    return Container(size=size, models=models, layers=tuple(layers))


def _payload(fields: Fields, layer: str, length: int | None) -> bytes:
    """The checksum and payload of a layer; of length None, it is the rest of the file."""
    expected = int.from_bytes(fields.raw(_CHECKSUM_BYTES, f"checksum of the {layer}"), "little")
    length = fields.left if length is None else length
    if fault := _length_fault(layer, length):
        raise fields.error(f"{fault}; the file is damaged, copy it again")
    found = fields.take(length, f"payload of the {layer}")
    if fields.checksum != expected:
        raise fields.error(
            f"{layer} layer is damaged: its checksum is {fields.checksum:08x}, it should be "
            f"{expected:08x}; copy the file again"
            + (", or decode the base alone" if layer != _LAYERS[0] else "")
        )
    return found


def _head(container: Container) -> bytes:
    """Header and length of the base: all before the base's checksum."""
    height, width = container.size
    count = len(container.models)
    assert all((len(it.trial), len(it.weights)) == _ID_BYTES[count] for it in container.models)
    return b"".join(
        (
            _MAGIC,
            bytes([_VERSION << 4 | count]),
            *(varint(height), varint(width)),
            *(part for model in container.models for part in (model.trial, model.weights)),
            varint(len(container.layers[0])),
        )
    )


def _size_fault(size: Size) -> str | None:
    height, width = size
    if min(size) >= 1 and max(size) <= MAX_SIDE and height * width <= MAX_PIXELS:
        return None
    return (
        f"size is {height}×{width} ({height * width} pixels), allowed are sides from 1 to "
        f"{MAX_SIDE} and {MAX_PIXELS} pixels at most"
    )


def _length_fault(layer: str, length: int) -> str | None:
    if length <= MAX_LAYER_BYTES:
        return None
    return f"length of the {layer} is {length} bytes, allowed are {MAX_LAYER_BYTES} at most"
