"""Files that a damaged disk or a hostile writer might hand to ``tcc decode``, seeded.

An original is mutated as a disk or a network would, and then its checksums do not hold; or its
fields and payloads are, and its checksums are made right again.
"""

from __future__ import annotations

import io
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

MEBIBYTE = 2**20
LAYERS = ("all", "base", "enhancement")
EXTREMES = (0, 1, 2, 15, 16, 17, 255, 2**13, 2**16 - 1, 2**16, 2**16 + 1, 2**26, 2**35 - 1)
LARGE = (
    (8192, 8192), (2**16, 2**10), (2**10, 2**16), (2**16, 1), (1, 2**16), (4096, 4096),
    (2048, 2048), (1, 2**26), (2**26, 1), (3000, 9),
)  # fmt: skip
MEDIUM = ((1024, 1024), (700, 900), (512, 512), (1, 5000), (400, 17))


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a file says: taken apart and put together without the code that is tested."""

    size: tuple[int, int]
    model: bytes
    layers: tuple[bytes, ...]
    count: int = 0  # of layers, as the header has it; 0: as many as there are

    def file(self) -> bytes:
        """The file, with checksums that hold whatever it says."""
        base, *above = self.layers or (b"",)
        count = self.count or len(self.layers)
        height, width = self.size
        sizes = varint(height) + varint(width)
        head = b"tc" + bytes([32 | count]) + sizes + self.model + varint(len(base))
        checksum = zlib.crc32(head + base)
        file = head + checksum.to_bytes(4, "little") + base
        for payload in above:
            checksum = zlib.crc32(payload, checksum)
            file += checksum.to_bytes(4, "little") + payload
        return file


def taken_apart(data: bytes) -> Parts:
    """Of a file that is whole."""
    height, at = _varint_at(data, 3)
    width, at = _varint_at(data, at)
    model, at = data[at : at + 6], at + 6
    length, at = _varint_at(data, at)
    at += 4
    layers = [data[at : at + length]]
    if data[2] & 15 == 2:
        layers.append(data[at + length + 4 :])
    return Parts(size=(height, width), model=model, layers=tuple(layers))


def varint(value: int) -> bytes:
    """LEB128."""
    digits = [value >> 7 * place & 127 for place in range(max(1, -(-value.bit_length() // 7)))]
    return bytes([digit | 128 for digit in digits[:-1]] + digits[-1:])


def _varint_at(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """A file: its bytes, how they came about, and the layer that is asked for."""

    kind: str
    data: bytes
    layer: str


class Hostiles:
    """The files of a seed, each by its number alone. ``originals``: whole files; ``escapes``:
    files whose payloads are nothing but escapes."""

    def __init__(self, seed: int, originals: Sequence[bytes], escapes: Sequence[bytes]):
        self._seed = seed
        self._files = list(originals)
        self._parts = [taken_apart(data) for data in originals]
        self._escapes = [taken_apart(data) for data in escapes]

    def __getitem__(self, number: int) -> Hostile:
        chance = random.Random(f"{self._seed} {number}")
        kind = KINDS[number % len(KINDS)]
        return Hostile(
            kind=kind, data=_MAKERS[kind](self, chance), layer=chance.choices(LAYERS, (4, 1, 1))[0]
        )

    def any_file(self, chance: random.Random) -> bytearray:
        """A whole file, to be mutated."""
        return bytearray(chance.choice(self._files))

    def any_parts(self, chance: random.Random) -> Parts:
        """What a whole file says."""
        return chance.choice(self._parts)

    def all_escapes(self, chance: random.Random) -> Parts:
        """What a file says whose payloads are nothing but escapes."""
        return chance.choice(self._escapes)


_Maker = Callable[[Hostiles, random.Random], bytes]
_MAKERS: dict[str, _Maker] = {}


def _maker(make: _Maker) -> _Maker:
    _MAKERS[make.__name__.strip("_").replace("_", " ")] = make
    return make


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random) -> None:
    begin, end = _span(data, chance)
    data[begin:end] = chance.choice(
        (chance.randbytes(end - begin), bytes(end - begin), b"\xff" * (end - begin))
    )


def _span(data: bytes | bytearray, chance: random.Random) -> tuple[int, int]:
    begin, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return begin, end


def _some_bytes(chance: random.Random) -> int:
    """Up to 1 MiB, as often small as large."""
    return min(MEBIBYTE - 64, int(2 ** chance.uniform(0, 20.01)))


# As a disk, a network or a typing error would; the checksums are left as they are.


@_maker
def _flipped(all: Hostiles, chance: random.Random) -> bytes:
    data = all.any_file(chance)
    _flip(data, chance)
    return bytes(data)


@_maker
def _overwritten(all: Hostiles, chance: random.Random) -> bytes:
    data = all.any_file(chance)
    _overwrite(data, chance)
    return bytes(data)


@_maker
def _cut(all: Hostiles, chance: random.Random) -> bytes:
    data = all.any_file(chance)
    return bytes(data[: chance.randrange(len(data) + 1)])


@_maker
def _extended(all: Hostiles, chance: random.Random) -> bytes:
    return bytes(all.any_file(chance)) + chance.randbytes(_some_bytes(chance))


@_maker
def _spliced(all: Hostiles, chance: random.Random) -> bytes:
    first, second = all.any_file(chance), all.any_file(chance)
    (begin, end), (cut, _) = _span(second, chance), _span(first, chance)
    return bytes(first[:cut] + second[begin:end] + first[cut:][chance.choice((0, end - begin)) :])


@_maker
def _header_extremes(all: Hostiles, chance: random.Random) -> bytes:
    data = all.any_file(chance)
    place = chance.choice((2, 3, 4, 5, 7, 13, 14))
    value = chance.choice((varint(chance.choice(EXTREMES)), b"\xff" * chance.randint(1, 12)))
    data[place : place + chance.randrange(4)] = value
    return bytes(data)


@_maker
def _foreign(all: Hostiles, chance: random.Random) -> bytes:
    picture = io.BytesIO()
    Image.fromarray(np.zeros((9, 7, 3), np.uint8)).save(picture, "PNG")
    text = "no such thing\n".encode(chance.choice(("utf-8", "utf-16")))
    noise = chance.randbytes(_some_bytes(chance))
    return chance.choice((b"", text, picture.getvalue(), noise, b"tc\x22" + noise, b"tc\x21"))


# As a hostile writer would: all checksums hold.


@_maker
def _forged_payload(all: Hostiles, chance: random.Random) -> bytes:
    parts = all.any_parts(chance)
    layers = [bytearray(payload) for payload in parts.layers]
    data = chance.choice(layers)
    match chance.randrange(5):
        case 0:
            _flip(data, chance)
        case 1:
            _overwrite(data, chance)
        case 2:
            del data[chance.randrange(len(data) + 1) :]
        case 3:
            data += chance.randbytes(_some_bytes(chance))
        case _:
            place = chance.randrange(len(data) + 1)
            data[place:] = chance.choice(all.any_parts(chance).layers)
    return replace(parts, layers=tuple(map(bytes, layers))).file()


@_maker
def _forged_size(all: Hostiles, chance: random.Random) -> bytes:
    parts = all.any_parts(chance)
    height, width = parts.size
    size = chance.choice(
        (
            (width, height),
            (height + 16, width),
            (max(1, height - 16), width),
            chance.choice(MEDIUM),
            chance.choice(LARGE),
            (chance.choice(EXTREMES), chance.choice(EXTREMES)),
        )
    )
    return replace(parts, size=size).file()


@_maker
def _forged_model(all: Hostiles, chance: random.Random) -> bytes:
    parts, other = all.any_parts(chance), all.any_parts(chance)
    mixed = [other.model[:count] + parts.model[count:] for count in (2, 3, 4)]
    model = chance.choice((other.model, *mixed, chance.randbytes(6)))
    return replace(parts, model=model).file()


@_maker
def _forged_layers(all: Hostiles, chance: random.Random) -> bytes:
    parts, other = all.any_parts(chance), all.any_parts(chance)
    base, *above = parts.layers
    layers, count = chance.choice(
        (
            ((*above, base), 0),
            ((other.layers[-1], *above), 0),
            ((base, *other.layers[1:]), 0),
            ((base, other.layers[0]), 0),
            ((base, base), 0),
            ((base,), 0),
            (parts.layers, chance.choice((1, 2, 3, 15))),
            ((b"",) * len(parts.layers), 0),
        )
    )
    return replace(parts, layers=layers, count=count).file()


@_maker
def _random_payload(all: Hostiles, chance: random.Random) -> bytes:
    """At the original's size, or at a middling one."""
    parts = all.any_parts(chance)
    size = chance.choice((parts.size, chance.choice(MEDIUM)))
    layers = tuple(chance.randbytes(_some_bytes(chance)) for _ in parts.layers)
    return replace(parts, size=size, layers=_bounded(layers)).file()


@_maker
def _large(all: Hostiles, chance: random.Random) -> bytes:
    """Any payload at a size up to the limit."""
    parts = all.any_parts(chance)
    count, old = _some_bytes(chance), parts.layers[-1]
    state = chance.randrange(2**31, 2**63).to_bytes(8, "little")  # as a coder ends
    payload = chance.choice(
        (b"", bytes(8), bytes(count), b"\xff" * count, old, chance.randbytes(count))
        + (state + bytes(count), state + b"\xff" * count, state + chance.randbytes(count))
        + ((old * (count // len(old) + 1),) if old else ())
    )
    layers = (payload,) * len(parts.layers) if chance.random() < 0.5 else parts.layers
    return replace(
        parts, size=chance.choice(LARGE), layers=_bounded((*layers[:-1], payload))
    ).file()


@_maker
def _constant_payload(all: Hostiles, chance: random.Random) -> bytes:
    parts = all.any_parts(chance)
    unit = chance.choice((b"\0", b"\xff", b"\x80", b"\x01", b"\xff\xff\x00", chance.randbytes(5)))
    count = _some_bytes(chance)
    made = (unit * (count // len(unit) + 1))[:count]
    layers = chance.choice(((made,) * len(parts.layers), (*parts.layers[:-1], made)))
    size = chance.choice((parts.size, chance.choice(MEDIUM)))
    return replace(parts, size=size, layers=_bounded(layers)).file()


@_maker
def _escapes_alone(all: Hostiles, chance: random.Random) -> bytes:
    parts = all.all_escapes(chance)
    payload = parts.layers[-1]
    match chance.randrange(4):
        case 0:
            payload = payload[: chance.randrange(len(payload))]
        case 1:
            payload = payload * (_some_bytes(chance) // len(payload) + 1)
        case 2:
            parts = replace(parts, size=chance.choice(MEDIUM))
        case _:
            pass
    return replace(parts, layers=_bounded((*parts.layers[:-1], payload))).file()


def _bounded(layers: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Payloads of a file of 1 MiB at most."""
    room = (MEBIBYTE - 64) // len(layers)
    return tuple(payload[:room] for payload in layers)


KINDS = tuple(_MAKERS)
