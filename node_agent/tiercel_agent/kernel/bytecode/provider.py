"""The programs' bytecode, from the fastest place that has it: memory, the disk, or the compiler."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tiercel_agent.kernel.bytecode.cache import BytecodeCache, key_of
from tiercel_agent.kernel.bytecode.compiler import LIMIT, Bytecode, Child, compile_programs

_STATE = "/var/lib/tiercel"
_FOLDER = "programs"


@dataclass(frozen=True, slots=True)
class ProgramSettings:
    """Where compiled programs are kept (None: nowhere), and how many seconds compiling them may take."""

    folder: Path | None = None
    limit: float = LIMIT


def usual_programs(environment: Mapping[str, str] = os.environ) -> ProgramSettings:
    """The settings unless something else is configured: programs are kept in systemd's state folder of the unit if
    there is one, else for root in /var/lib/tiercel. Other users keep none."""
    state = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if not state and os.geteuid() != 0:
        return ProgramSettings()
    return ProgramSettings(Path(state or _STATE, _FOLDER))


class BytecodeProvider:
    """Compiles programs, and keeps those of the last time in memory and all on the disk.

    ``begun`` is called with each process that compiles, when it has started.
    """

    def __init__(self, settings: ProgramSettings, begun: Callable[[Child], None] = lambda _child: None) -> None:
        self._begun = begun
        self._limit = settings.limit
        self._cache = BytecodeCache(settings.folder) if settings.folder is not None else None
        self._last: tuple[Mapping[str, int], Bytecode] | None = None

    def get(self, macros: Mapping[str, int], meanwhile: Callable[[], None] = lambda: None) -> Bytecode:
        """The programs for these macros. Raises CompileError.

        ``meanwhile`` is called about once a second while the compiler runs.
        """
        if self._last is None or self._last[0] != macros:
            self._last = dict(macros), self._kept_or_compiled(macros, meanwhile)
        return self._last[1]

    def _kept_or_compiled(self, macros: Mapping[str, int], meanwhile: Callable[[], None]) -> Bytecode:
        key = key_of(macros)
        bytecode = self._cache.find(key) if self._cache is not None else None
        if bytecode is None:
            bytecode = compile_programs(macros, self._limit, begun=self._begun, meanwhile=meanwhile)
            if self._cache is not None:
                self._cache.keep(key, bytecode)
        return bytecode
