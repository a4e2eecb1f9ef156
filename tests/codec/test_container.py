"""The `.tcc` file: what was packed comes back, and nothing else is taken for it."""

from __future__ import annotations

import os
import random
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcc.codec import container as room
from tcc.codec.container import (
    MAX_PIXELS,
    MAX_SIDE,
    Container,
    ModelId,
    overhead,
    pack,
    read,
    unpack,
)
from tcc.codec.fields import Fields
from tcc.errors import BitstreamError

TRIAL, SHA256 = "4f2a90c17be3d856", "c0ffee" + 58 * "1"
OTHER_TRIAL, OTHER_SHA256 = "77e1" + 12 * "0", "5a" + 62 * "2"
MODELS = (
    ModelId.of(TRIAL, SHA256, layers=2),
    ModelId.of(OTHER_TRIAL, OTHER_SHA256, layers=2),
)
SMALL = Container(size=(300, 451), models=MODELS, layers=(b"the base", b"more of it"))
ALONE = Container(
    size=SMALL.size, models=(ModelId.of(TRIAL, SHA256, layers=1),), layers=SMALL.layers[:1]
)
BELOW = replace(SMALL, layers=SMALL.layers[:1])  # what is read of it where the base is wanted
MEBIBYTE = 2**20

payloads = st.binary(max_size=300)
sizes = st.one_of(
    st.tuples(st.integers(1, 2**13), st.integers(1, 2**13)),
    st.tuples(st.just(1), st.integers(1, MAX_SIDE)),
    st.tuples(st.integers(1, MAX_SIDE), st.just(1)),
)


def bytes_of(count: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=count, max_size=count)


alone = st.builds(ModelId, trial=bytes_of(4), weights=bytes_of(2))
beside = st.builds(ModelId, trial=bytes_of(2), weights=bytes_of(1))
containers = st.one_of(
    st.builds(Container, size=sizes, models=st.tuples(alone), layers=st.tuples(payloads)),
    st.builds(
        Container,
        size=sizes,
        models=st.tuples(beside, beside),
        layers=st.tuples(payloads, payloads),
    ),
)


def refused(data: bytes, layers: int | None = None) -> str:
    """The message that a file is refused with."""
    with pytest.raises(BitstreamError) as raised:
        unpack(data, name="kodim01.tcc", layers=layers)
    message = str(raised.value)
    assert message.startswith("kodim01.tcc: ")
    assert "\n" not in message
    return message


def varint(value: int, length: int = 0) -> bytes:
    """LEB128, in no fewer bytes than ``length``: written apart from what is tested."""
    length = max(length, -(-value.bit_length() // 7), 1)
    digits = [value >> 7 * place & 127 for place in range(length)]
    return bytes([digit | 128 for digit in digits[:-1]] + digits[-1:])


def checksummed(head: bytes, base: bytes, above: bytes | None = None) -> bytes:
    """A file of any head, with checksums that hold."""
    first = zlib.crc32(head + base)
    file = head + first.to_bytes(4, "little") + base
    if above is not None:
        file += zlib.crc32(above, first).to_bytes(4, "little") + above
    return file


def head(
    magic: bytes = b"tc",
    version: int = 2,
    layers: int = 1,
    height: bytes = varint(2),
    width: bytes = varint(3),
    length: bytes = varint(4),
) -> bytes:
    return magic + bytes([version << 4 | layers]) + height + width + b"trialW" + length


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@given(containers)
def test_what_was_packed_comes_back(container):
    data = pack(container)
    assert unpack(data, name="x") == container
    assert unpack(data, name="x", layers=len(container.layers)) == container
    base = replace(container, layers=container.layers[:1])
    assert unpack(data, name="x", layers=1) == base


@given(containers)
def test_overhead_is_what_the_file_has_beside_its_payloads(container):
    extra = overhead(container)
    assert len(extra) == len(container.layers)
    assert sum(extra) + sum(map(len, container.layers)) == len(pack(container))
    below = replace(container, layers=container.layers[:1])  # as it is read for the base alone
    assert overhead(below) == extra[:1]


@pytest.mark.parametrize("above", [b"", b"e" * 2**14])
@pytest.mark.parametrize(("base", "expected"), [(0, 22), (127, 22), (2**14, 24), (2**21 - 1, 24)])
def test_two_layers_cost_24_bytes_at_most(base, above, expected):
    container = Container(size=(2**13, 2**13), models=MODELS, layers=(bytes(base), above))
    assert sum(overhead(container)) == expected
    assert sum(overhead(replace(container, size=(4096, 2**14 - 1)))) == expected


def test_the_layout_is_as_it_is_written():
    """Bytes by hand: files that were written must stay readable."""
    begin = b"tc\x22\xac\x02\xc3\x03" + bytes.fromhex("4f2ac077e15a") + b"\x08"
    assert pack(SMALL) == checksummed(begin, b"the base", b"more of it")
    begin = b"tc\x21\xac\x02\xc3\x03" + bytes.fromhex("4f2a90c1c0ff") + b"\x08"
    assert pack(ALONE) == checksummed(begin, b"the base")
    assert pack(ALONE).hex() == "746321ac02c3034f2a90c1c0ff08" + "fd9523f1" + b"the base".hex()


def test_a_model_is_told_from_others():
    (model,) = ALONE.models
    assert model.matches(TRIAL, SHA256)
    assert model.matches(TRIAL.upper(), SHA256)
    assert not model.matches("4f2a90c2" + TRIAL[8:], SHA256)
    assert not model.matches(TRIAL, "c0fe" + SHA256[4:])
    base, enhancement = MODELS
    assert base.matches(TRIAL, SHA256)
    assert enhancement.matches(OTHER_TRIAL, OTHER_SHA256)
    assert not base.matches("4f2b" + TRIAL[4:], SHA256)
    assert not base.matches(TRIAL, "c1" + SHA256[2:])
    assert str(base) == "trial 4f2a… of weights c0…"


@pytest.mark.parametrize("container", [SMALL, ALONE])
def test_any_changed_byte_is_seen(container):
    data = pack(container)
    for place in range(len(data)):
        for flip in range(1, 256):
            damaged = bytearray(data)
            damaged[place] ^= flip
            refused(bytes(damaged))


@pytest.mark.parametrize("container", [SMALL, ALONE])
def test_any_cut_is_seen(container):
    data = pack(container)
    for end in range(len(data)):
        message = refused(data[:end])
        if "cut off" in message:
            assert f"{end} bytes of at least" in message
        else:  # the enhancement is as long as the file: only its checksum tells
            assert "enhancement layer is damaged" in message
            assert container is SMALL


def test_an_enhancement_holds_beside_its_own_base_alone():
    other = replace(SMALL, layers=(b"The base", SMALL.layers[1]))
    (base, above), mine, its = SMALL.layers, pack(SMALL), pack(other)
    assert its.endswith(above)
    assert len(its) == len(mine)
    behind = len(mine) - len(above) - 4
    assert mine[behind - len(base) : behind] == base
    assert "enhancement layer is damaged" in refused(mine[:behind] + its[behind:])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut off in the magic: it has 0 bytes of at least 2"),
        (b"\x89PNG\r\n", "magic is b'\\x89P', a .tcc file begins with b'tc'"),
        (head(version=3) + bytes(9), "version is 3, this tcc reads 2: written by a newer tcc"),
        (head(version=1) + bytes(9), "reads 2: written by an older tcc, or damaged; encode its"),
        (head(layers=0) + bytes(9), "number of layers is 0, 1 or 2 are allowed"),
        (head(layers=3) + bytes(9), "number of layers is 3, 1 or 2 are allowed"),
        (head(height=varint(0)), "size is 0×3 (0 pixels), allowed are sides from 1"),
        (head(width=varint(0)), "size is 2×0 (0 pixels), allowed are sides from 1"),
        (
            head(height=varint(8192), width=varint(8193)),
            "size is 8192×8193 (67117056 pixels), allowed are sides from 1 to 65536 and 67108864 p",
        ),
        (head(width=varint(2**35 - 1)), "size is 2×34359738367"),
        (head(width=varint(2**16 + 1)), "size is 2×65537 (131074 pixels), allowed are sides from"),
        (head(width=varint(2**35)), "width takes more than 5 bytes"),
        (head(height=b"\xff" * 1000), "height takes more than 5 bytes"),
        (head(length=b"\x80" * 5 + b"\x01"), "length of the base takes more than 5 bytes"),
        (head(length=varint(2**35 - 1)) + bytes(9), "length of the base is 34359738367 bytes"),
        (head(length=varint(2**28)) + bytes(9), "has 25 bytes of at least 268435476"),
        (head()[:8], "cut off in the trial id: it has 8 bytes of at least"),
        (head()[:10], "weights' hash: it has 10 bytes of at least 11"),
        (head() + b"12", "checksum of the base"),
        (checksummed(head(), b"1234")[:-1], "payload of the base: it has 19 bytes of at least 20"),
        (head() + b"\0\0\0\0" + b"1234", "base layer is damaged: its checksum is "),
        (checksummed(head(), b"1234") + b"5", "bytes behind the base are 1, none are allowed"),
        (checksummed(head(layers=2), b"1234"), "checksum of the enhancement: it has 20 bytes of"),
        (checksummed(head(layers=2), b"1234") + b"\0\0\0\0_", "enhancement layer is damaged"),
        (checksummed(head(height=varint(2, 2)), b"1234"), "height 2 takes 2 bytes, more than"),
        (checksummed(head(length=varint(4, 5)), b"1234"), "length of the base 4 takes 5 bytes"),
    ],
)
def test_each_fault_is_named_with_its_value_and_what_is_allowed(data, said):
    assert said in refused(data)


def test_an_enhancement_that_is_not_there_is_named():
    assert "the file has no enhancement" in refused(pack(ALONE), layers=2)
    assert "leave --layer out" in refused(pack(ALONE), layers=2)
    assert unpack(pack(ALONE), name="x", layers=1) == ALONE
    assert "bytes behind the base are 10" in refused(pack(ALONE) + bytes(10), layers=1)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, -5), (8193, 8192), (1, MAX_SIDE + 1)])
def test_images_of_no_or_too_many_pixels_are_not_packed(size):
    with pytest.raises(BitstreamError, match=r"size is .*67108864 pixels at most; scale it down"):
        pack(replace(SMALL, size=size))


@pytest.mark.parametrize("size", [(1, 1), (8192, 8192), (1024, MAX_SIDE), (MAX_SIDE, 1)])
def test_the_smallest_and_the_largest_images_are(size):
    container = replace(SMALL, size=size)
    assert unpack(pack(container), name="x") == container


def test_who_reads_bounds_the_pixels(tmp_path):
    (tmp_path / "a.tcc").write_bytes(pack(SMALL))
    pixels = SMALL.size[0] * SMALL.size[1]
    assert read(tmp_path / "a.tcc", max_pixels=pixels) == SMALL
    said = r"size is 300×451 \(135300 pixels\), asked for were 135299 .*--max-pixels"
    with pytest.raises(BitstreamError, match=said):
        read(tmp_path / "a.tcc", max_pixels=pixels - 1)
    with pytest.raises(BitstreamError, match=said):  # before the payload is read
        unpack(pack(SMALL)[:20], name="a.tcc", max_pixels=pixels - 1)


@pytest.mark.parametrize("layer", ["base", "enhancement"])
def test_no_layer_is_longer_than_the_limit(layer, monkeypatch):
    payloads = {"base": b"1", "enhancement": b"2", layer: b"12345678"}
    container = replace(SMALL, layers=(payloads["base"], payloads["enhancement"]))
    data = pack(container)
    monkeypatch.setattr(room, "MAX_LAYER_BYTES", 7)
    said = f"length of the {layer} is 8 bytes, allowed are 7 at most"
    assert said in refused(data)
    with pytest.raises(BitstreamError, match=said):
        pack(container)


def test_files_are_read_as_their_bytes(tmp_path):
    file = tmp_path / "a.tcc"
    for container in (SMALL, ALONE):
        file.write_bytes(pack(container))
        assert read(file) == container
        assert read(file, layers=1) == replace(container, layers=container.layers[:1])
    with pytest.raises(BitstreamError, match=r"a\.tcc: number of layers is 1, 2 were asked for"):
        read(file, layers=2)
    file.write_bytes(pack(SMALL)[:-1])
    with pytest.raises(BitstreamError, match=r"a\.tcc: enhancement layer is damaged"):
        read(file)


@pytest.mark.parametrize("behind", [b"", b"\0", b"\0" * 4, b"wrong" * 100])
def test_the_base_needs_nothing_of_what_follows_it(behind, tmp_path):
    data = pack(SMALL)
    intact = data[: -4 - len(SMALL.layers[1])] + behind
    (tmp_path / "a.tcc").write_bytes(intact)
    assert read(tmp_path / "a.tcc", layers=1) == BELOW
    assert unpack(intact, name="x", layers=1) == BELOW
    refused(intact)
    refused(intact, layers=2)


def test_nothing_behind_the_base_is_read(tmp_path, monkeypatch):
    counted = []
    raw = Fields.raw

    def spy(self, count, field):
        found = raw(self, count, field)
        counted.append(os.lseek(self._stream.fileno(), 0, os.SEEK_CUR))  # with what is buffered
        return found

    monkeypatch.setattr(Fields, "raw", spy)
    file = tmp_path / "a.tcc"
    file.write_bytes(pack(SMALL))
    os.truncate(file, 2**33)  # a hole: takes no disk
    with memory_below(MEBIBYTE):
        assert read(file, layers=1) == BELOW
        assert counted[-1] == overhead(SMALL)[0] + len(SMALL.layers[0])
        with pytest.raises(BitstreamError, match="length of the enhancement is 85899"):
            read(file)


def test_a_length_takes_no_memory_before_the_bytes_are_there(tmp_path):
    file = tmp_path / "a.tcc"
    file.write_bytes(head(length=varint(2**28)) + bytes(1000))
    with memory_below(MEBIBYTE), pytest.raises(BitstreamError, match="payload of the base"):
        read(file)


def test_a_file_that_shrinks_while_it_is_read_is_cut_off(tmp_path, monkeypatch):
    file = tmp_path / "a.tcc"
    file.write_bytes(pack(SMALL))
    found = file.stat()
    os.truncate(file, 20)
    monkeypatch.setattr(Path, "stat", lambda self, **_: found)
    with pytest.raises(
        BitstreamError, match=r"cut off in the payload of the base: it has 20 bytes"
    ):
        read(file)


def test_what_is_no_readable_file_is_named(tmp_path, monkeypatch):
    with pytest.raises(BitstreamError, match=r"none\.tcc: there is no such file"):
        read(tmp_path / "none.tcc")
    with pytest.raises(BitstreamError, match=f"{tmp_path}: is a folder or device"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe.tcc")
    with pytest.raises(BitstreamError, match=r"pipe\.tcc: is a folder or device"):
        read(tmp_path / "pipe.tcc")
    (tmp_path / "a.tcc").write_bytes(pack(SMALL))
    with pytest.raises(BitstreamError, match=r"a\.tcc/b: cannot be read \(Not a directory\)"):
        read(tmp_path / "a.tcc" / "b")

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # root may read whatever its mode
    with pytest.raises(BitstreamError, match=r"a\.tcc: cannot be read \(Permission denied\)"):
        read(tmp_path / "a.tcc")


def mutated(chance: random.Random, files: list[bytes]) -> bytes:
    """A file with one to three faults."""
    data = bytearray(chance.choice(files))
    for _ in range(chance.randint(1, 3)):
        place, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        match chance.randrange(8):
            case 0 if data:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            case 1:
                del data[place:]
            case 2:
                del data[place:end]
            case 3:
                other = chance.choice(files)
                data[place:] = other[chance.randrange(len(other) + 1) :]
            case 4:
                data[place:place] = chance.randbytes(chance.randint(1, 40))
            case 5:
                data[place:end] = chance.randbytes(end - place)
            case 6:
                data[:] = b"tc\x22"[: chance.randrange(4)] + chance.randbytes(chance.randrange(99))
            case _:
                long = b"\xff" * chance.randint(1, 12) + bytes([chance.randrange(128)])
                begin = chance.choice([3, 5, 13, place])
                data[begin : begin + chance.randrange(3)] = long
    return bytes(data)


def originals(chance: random.Random) -> list[Container]:
    return [
        Container(
            size=(chance.randint(1, 2000), chance.randint(1, 2000)),
            models=tuple(
                ModelId(trial=chance.randbytes(4 // count), weights=chance.randbytes(2 // count))
                for _ in range(count)
            ),
            layers=tuple(chance.randbytes(chance.randrange(400)) for _ in range(count)),
        )
        for count in (1, 2) * 4
    ]


def test_no_mutated_file_is_taken_for_another():
    chance = random.Random(0)
    known = originals(chance)
    files = [pack(container) for container in known]
    bases = [replace(container, layers=container.layers[:1]) for container in known]
    refusals = 0
    with memory_below(16 * MEBIBYTE):
        for _ in range(10_000):
            data, layers = mutated(chance, files), chance.choice((None, None, 1, 2))
            try:
                found = unpack(data, name="x", layers=layers)
            except BitstreamError:
                refusals += 1
                continue
            # nothing was changed, or only what was not asked for
            assert found in (bases if layers == 1 else known)
    assert 9000 < refusals < 10_000


def test_forged_checksums_give_nothing_that_pack_would_not_write():
    """Behind a checksum that holds, the fields themselves are all that is left to check."""
    chance = random.Random(1)
    accepted = 0
    with memory_below(16 * MEBIBYTE):
        for _ in range(5000):
            base = chance.randbytes(chance.randrange(20))
            above = chance.choice((None, b"", b"above"))
            fields = {
                field: varint(chance.choice((0, 1, 300, 2**13, 2**26, 2**35)), chance.randrange(3))
                for field in ("height", "width")
            }
            length = varint(len(base) + chance.choice((-1, 0, 0, 0, 0, 1)), chance.randrange(3))
            begin = head(layers=chance.randrange(1, 3), length=length, **fields)
            data = checksummed(begin, base, above)
            try:
                found = unpack(data, name="x")
            except BitstreamError:
                continue
            accepted += 1
            assert pack(found) == data
            assert found.size[0] * found.size[1] <= MAX_PIXELS
    assert accepted > 50
