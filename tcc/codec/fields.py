"""A binary file that is not trusted, field by field: each may be cut off, or too long."""

from __future__ import annotations

import zlib
from typing import Protocol

from tcc.errors import BitstreamError

VARINT_BYTES = 5  # at most


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes | None: ...


class Fields:
    """A file from its begin on, field by field; ``checksum``: of what was read."""

    def __init__(self, stream: _Stream, size: int, name: str):
        self._stream = stream
        self._size = size
        self._at = 0
        self._name = name
        self.checksum = 0

    @property
    def left(self) -> int:
        """Bytes of the file that were not read."""
        return self._size - self._at

    def error(self, message: str) -> BitstreamError:
        """That names the file."""
        return BitstreamError(f"{self._name}: {message}")

    def raw(self, count: int, field: str) -> bytes:
        """The next bytes, which no checksum is of."""
        # the size first: memory is taken for what is asked, not for what is there
        if count <= self.left:
            found = self._stream.read(count) or b""
            if len(found) == count:
                self._at += count
                return found
            self._size = self._at + len(found)  # it was cut off since it was opened
        raise self.error(
            f"is cut off in the {field}: it has {self._size} bytes of at least "
            f"{self._at + count}; copy it again"
        )

    def take(self, count: int, field: str) -> bytes:
        """The next bytes."""
        found = self.raw(count, field)
        self.checksum = zlib.crc32(found, self.checksum)
        return found

    def varint(self, field: str) -> int:
        """The next number, see `varint`."""
        value = 0
        for place in range(VARINT_BYTES):
            (byte,) = self.take(1, field)
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                if place and not byte:
                    raise self.error(
                        f"{field} {value} takes {place + 1} bytes, more than it needs; "
                        "the file is damaged, copy it again"
                    )
                return value
        raise self.error(
            f"{field} takes more than {VARINT_BYTES} bytes; the file is damaged, copy it again"
        )


def varint(value: int) -> bytes:
    """LEB128: 7 bits a byte, the lowest first, the high bit where another byte follows."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
