"""A file server that stops to answer: FUSE, spoken without a library, as far as these tests need it.

It has a file, which can be executed, and an empty folder. Nothing that it says may be kept, so that the kernel asks it
each time. A process that has asked and gets no answer can't be ended, not even by SIGKILL, until the server is closed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import stat
import struct
from contextlib import suppress
from pathlib import Path

import pytest

_LIBC = ctypes.CDLL(None, use_errno=True)
_DETACH, _NOSUID_NODEV = 2, 2 | 4
_DIE_WITH_PARENT = 1
_IN, _OUT = struct.Struct("=IIQQIIII"), struct.Struct("=IiQ")
_ATTRIBUTES = struct.Struct("=6Q10I")
_LONGEST = 1 << 18
_ROOT, _FILE, _FOLDER = 1, 2, 3
_NODES = {b"program": _FILE, b"folder": _FOLDER}
_NOTIFICATIONS = frozenset({2, 36, 42})  # FORGET, INTERRUPT, BATCH_FORGET: nobody waits for an answer


class FileServer:
    """Serves a folder, whose file has this content, from a process of its own. Raises OSError if that can't be."""

    def __init__(self, folder: Path, content: bytes) -> None:
        self.folder = folder
        self.file, self.inner = folder / "program", folder / "folder"
        folder.mkdir()
        fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        try:
            options = f"fd={fuse},rootmode=40755,user_id=0,group_id=0,allow_other".encode()
            if _LIBC.mount(b"silent", os.fsencode(folder), b"fuse", _NOSUID_NODEV, options):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            told, self._tell = os.pipe()
            self._confirmed, confirm = os.pipe()
            self._pid = os.fork()
            if self._pid == 0:
                with suppress(BaseException):
                    _LIBC.prctl(_DIE_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)
                    os.close(self._tell)
                    os.close(self._confirmed)
                    _serve(fuse, told, confirm, content)
                os._exit(0)
            os.close(told)
            os.close(confirm)
        finally:
            os.close(fuse)

    def fall_silent(self, *answered: int) -> None:
        """From now on, only these processes get answers."""
        os.write(self._tell, struct.pack("=I", len(answered)) + struct.pack(f"={len(answered)}I", *answered))
        assert os.read(self._confirmed, 1) == b"x"

    def close(self) -> None:
        """Whoever waits gets an error."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._tell)
        os.close(self._confirmed)
        _LIBC.umount2(os.fsencode(self.folder), _DETACH)


def file_server(folder: Path, content: bytes) -> FileServer:
    """A file server; skips where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    try:
        return FileServer(folder, content)
    except OSError as error:
        pytest.skip(f"there is no FUSE: {error}")


def hangs(process: int) -> bool:
    """Whether one of its threads waits so that nothing ends it: it was told to end, and doesn't."""
    threads = Path(f"/proc/{process}/task").iterdir()
    return any((thread / "stat").read_text().rpartition(")")[2].split()[0] == "D" for thread in threads)


def _serve(fuse: int, told: int, confirm: int, content: bytes) -> None:
    answered: set[int] | None = None
    poll = select.poll()  # descriptors may have numbers that select() doesn't take
    for descriptor in (fuse, told):
        poll.register(descriptor, select.POLLIN)
    while True:
        if told in dict(poll.poll()):
            count = os.read(told, 4)
            if not count:
                return
            numbers = os.read(told, 4 * int.from_bytes(count, "little")) if any(count) else b""
            answered = {number for (number,) in struct.iter_unpack("=I", numbers)}
            os.write(confirm, b"x")
            continue
        try:
            request = os.read(fuse, _LONGEST)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                continue
            return
        _, operation, unique, node, _, _, pid, _ = _IN.unpack_from(request)
        if operation in _NOTIFICATIONS:
            continue
        if answered is not None and pid not in answered:
            continue
        number, answer = _answer(operation, node, request[_IN.size :], content)
        with suppress(OSError):  # whoever asked has gone
            os.write(fuse, _OUT.pack(_OUT.size + len(answer), -number, unique) + answer)


def _answer(operation: int, node: int, body: bytes, content: bytes) -> tuple[int, bytes]:
    """The number of an error or 0, and the answer's body (include/uapi/linux/fuse.h)."""
    match operation:
        case 26:  # INIT
            return 0, struct.pack("=4I2H2I2H8I", 7, 31, 0, 0, 16, 12, 4096, 1, 0, 0, *[0] * 8)
        case 1:  # LOOKUP
            found = _NODES.get(body.rstrip(b"\0")) if node == _ROOT else None
            if found is None:
                return errno.ENOENT, b""
            return 0, struct.pack("=4Q2I", found, 0, 0, 0, 0, 0) + _attributes(found, content)
        case 3:  # GETATTR
            return 0, struct.pack("=Q2I", 0, 0, 0) + _attributes(node, content)
        case 14 | 27:  # OPEN, OPENDIR
            return 0, struct.pack("=Q2I", 1, 0, 0)
        case 15:  # READ
            _, offset, size = struct.unpack_from("=2QI", body)
            return 0, content[offset : offset + size]
        case 17:  # STATFS
            return 0, struct.pack("=5Q10I", 0, 0, 0, 0, 0, 4096, 255, 4096, 0, *[0] * 6)
        case 18 | 25 | 28 | 29 | 34:  # RELEASE, FLUSH, READDIR, RELEASEDIR, ACCESS
            return 0, b""
    return errno.EPERM, b""


def _attributes(node: int, content: bytes) -> bytes:
    mode, size = (stat.S_IFREG | 0o755, len(content)) if node == _FILE else (stat.S_IFDIR | 0o755, 0)
    return _ATTRIBUTES.pack(node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
