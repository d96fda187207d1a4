"""The C text that is compiled: bpf/ flattened into one file, and the macros that fit it to kernel and rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

_BPF = files("tiercel_agent").joinpath("bpf")
_INCLUDE = re.compile(r'^#include "([a-z_]+\.[ch])"$', re.MULTILINE)


def program_text() -> str:
    """All programs as one text: BCC rewrites map accesses in its main file only, so own includes are put in place."""
    return "".join(map(_flatten, ("calls.c", "processes.c", "changes.c", "cgroups.c")))


def kconfig() -> str:
    """The header that stands in for the kernel's."""
    return _BPF.joinpath("include/linux/kconfig.h").read_text()


def _flatten(name: str) -> str:
    text = _BPF.joinpath(name).read_text()
    return f'#line 1 "{name}"\n' + _INCLUDE.sub(lambda match: _flatten(match[1]) + f'#line 1 "{name}"', text)


def macro_flags(macros: Mapping[str, int]) -> list[str]:
    """Compiler flags that define the macros."""
    return [f"-D{name}={value}" for name, value in macros.items()]
