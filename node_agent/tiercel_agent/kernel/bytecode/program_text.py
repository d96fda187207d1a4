"""The C text that is compiled: bpf/ as one file, and the macros that fit it to kernel and rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

_BPF = files("tiercel_agent").joinpath("bpf")
_PROGRAM_FILES = (
    "calls.c",
    "names.c",
    "connections.c",
    "admit.c",
    "processes.c",
    "changes.c",
    "cgroups.c",
    "hooks.c",
    "rings.c",
)
_INCLUDE = re.compile(r'#include "([a-z_]+\.h)"')


def program_text() -> str:
    """All programs as one text.

    BCC rewrites the accesses to maps in its main file only. So each header is put in the place where it is first
    included, and later includes of it are left out.
    """
    included: set[str] = set()
    return "\n".join([*(_flattened(name, included) for name in _PROGRAM_FILES), ""])


def kconfig() -> str:
    """The header that stands in for the kernel's."""
    return _BPF.joinpath("include/linux/kconfig.h").read_text()


def _flattened(name: str, included: set[str]) -> str:
    """The text of a file with the headers that aren't in ``included`` yet, which is extended. ``#line`` keeps the
    compiler's messages right."""
    lines = [f'#line 1 "{name}"']
    for number, line in enumerate(_BPF.joinpath(name).read_text().splitlines(), start=1):
        header = _INCLUDE.fullmatch(line)
        if header is None:
            lines.append(line)
        elif header[1] in included:
            lines.append("")
        else:
            included.add(header[1])
            lines += [_flattened(header[1], included), f'#line {number + 1} "{name}"']
    return "\n".join(lines)


def macro_flags(macros: Mapping[str, int]) -> list[str]:
    """Compiler flags that define the macros."""
    return [f"-D{name}={value}" for name, value in macros.items()]
