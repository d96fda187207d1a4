"""Offsets of members in the running kernel's structures, from its BTF.

The format is documented in the kernel's Documentation/bpf/btf.rst: a type is three 32-bit words (name, info, size
or type), followed for a structure by its members (name, type, offset in bits).
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator
from pathlib import Path
from struct import unpack_from

from tiercel_agent.kernel.loading.libbpf import LibbpfError, library

_STRUCT, _UNION, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _FUNC, _TYPE_TAG = 4, 5, 8, 9, 10, 11, 12, 18
_QUALIFIERS = frozenset({_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG})
_PLACE = "/sys/kernel/btf/vmlinux"


def _no_btf() -> str:
    if Path(_PLACE).exists():
        return f"the type information in {_PLACE} can't be read: it is cut short, or only a newer libbpf knows its form"
    return f"the kernel shows no type information in {_PLACE}: use one with CONFIG_DEBUG_INFO_BTF=y"


class Btf:
    """The kernel's type information. Raises LibbpfError if the kernel has none."""

    def __init__(self) -> None:
        self._lib = library()
        self._btf = self._lib.btf__load_vmlinux_btf()
        # libbpf 0.x returns an error pointer, 1.x NULL
        if not self._btf or self._btf > 2**64 - 4096:
            self._btf = None
            raise LibbpfError(ctypes.get_errno(), _no_btf())

    def close(self) -> None:
        self._lib.btf__free(self._btf)

    def size(self, struct: str) -> int | None:
        """The size of a structure in bytes, or None if the kernel has none of that name."""
        number = self.structure(struct)
        return None if number is None else int(self._lib.btf__resolve_size(self._btf, number))

    def function(self, name: str) -> int | None:
        """The number of a function of the kernel, or None if it has none of that name."""
        number = self._lib.btf__find_by_name_kind(self._btf, name.encode(), _FUNC)
        return number if number > 0 else None

    def typedef(self, name: str) -> bool:
        """Whether the kernel has a typedef of that name."""
        return bool(self._lib.btf__find_by_name_kind(self._btf, name.encode(), _TYPEDEF) > 0)

    def structure(self, name: str) -> int | None:
        """The number of a structure, or None if the kernel has none of that name."""
        number = self._lib.btf__find_by_name_kind(self._btf, name.encode(), _STRUCT)
        return number if number > 0 else None

    def offset(self, path: str) -> int | None:
        """The offset in bytes of ``struct.member.member``, or None if there is none or it is a bit field.

        Members of anonymous structures and unions are found as if they were members of the structure around.
        """
        struct, *members = path.split(".")
        type_id = self.structure(struct)
        bits = 0
        for name in members:
            if type_id is None:
                return None
            member = self._member(type_id, name)
            if member is None:
                return None
            member_bits, type_id = member
            bits += member_bits
        return bits // 8 if type_id is not None and bits % 8 == 0 else None

    def _name(self, offset: int) -> str:
        return (self._lib.btf__name_by_offset(self._btf, offset) or b"").decode()

    def _words(self, type_id: int, count: int, skip: int = 0) -> tuple[int, ...]:
        address = self._lib.btf__type_by_id(self._btf, type_id)
        if not address:
            raise LibbpfError(errno.EINVAL, _no_btf())
        return unpack_from(f"<{count}I", ctypes.string_at(address + skip, 4 * count))

    def _members(self, type_id: int) -> Iterator[tuple[str, int, int]]:
        """(name, offset in bits, type) of each member."""
        _, info, _ = self._words(type_id, 3)
        count, is_bitfield_form = info & 0xFFFF, info >> 31
        words = self._words(type_id, 3 * count, skip=12) if count else ()
        for name, member_type, offset in zip(words[::3], words[1::3], words[2::3], strict=True):
            yield self._name(name), offset & 0xFFFFFF if is_bitfield_form else offset, member_type

    def _member(self, type_id: int, name: str) -> tuple[int, int] | None:
        type_id = self._unqualified(type_id)
        if (self._words(type_id, 2)[1] >> 24) & 0x1F not in (_STRUCT, _UNION):
            return None
        for member, bits, member_type in self._members(type_id):
            if member == name:
                return bits, member_type
            if not member and (inner := self._member(member_type, name)):
                return bits + inner[0], inner[1]
        return None

    def _unqualified(self, type_id: int) -> int:
        while True:
            _, info, target = self._words(type_id, 3)
            if (info >> 24) & 0x1F not in _QUALIFIERS:
                return type_id
            type_id = target
