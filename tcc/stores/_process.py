"""Who a process is, so that another one can tell whether it is still there.

A process id alone does not say: it is given again, and every container counts its own. Where
there is no ``/proc``, a process whose id was given again counts as living.
"""

from __future__ import annotations

import os
import secrets
import socket
import uuid
from functools import cache
from hashlib import sha256
from pathlib import Path

_PROC = Path("/proc")
_MACHINE, _PID, _STARTED = 8, 8, 12  # hexadecimal digits of a mark; 8 random ones follow


@cache
def machine() -> str:
    """Names this boot of this machine and, in a container, its own count of processes: within one,
    a process id and its start are one process."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')} {socket.gethostname()}"  # noqa: PTH115
    except OSError:
        return f"{uuid.getnode():012x} {socket.gethostname()}"


def started(pid: int) -> float:
    """When a process of this machine began, as its kernel counts; 0 where that cannot be read."""
    fields = _stat(pid)
    return float(fields[19]) if fields else 0.0


def is_dead(on: str, pid: int, since: float) -> bool:
    """Whether the process of an id that began at ``since`` on a machine is known to be no more;
    of another machine nothing is known."""
    if on != machine() or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # another user's, which may be hidden below
    fields = _stat(pid)
    if not fields:
        return False
    return fields[0] in "ZX" or float(fields[19]) != since


def mark() -> str:
    """Hexadecimal digits that no other writer has, and by which `left_by_dead` knows this one."""
    return _own_mark(os.getpid()) + secrets.token_hex(4)


def left_by_dead(found: str) -> bool:
    """Whether the process that made a mark is known to be no more."""
    if len(found) != _MACHINE + _PID + _STARTED + 8 or found[:_MACHINE] != _short(machine()):
        return False
    pid, since = found[_MACHINE : _MACHINE + _PID], found[_MACHINE + _PID : -8]
    return is_dead(machine(), int(pid, 16), float(int(since, 16)))


@cache
def _own_mark(pid: int) -> str:
    return f"{_short(machine())}{pid:08x}{int(started(pid)):012x}"


def _short(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:_MACHINE]


def _stat(pid: int) -> list[str]:
    """The fields of a process from its state on, as proc(5) numbers them less three."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # its name may hold anything
