"""How each field of the registry is computed from a syscall record.

Every module has ``FIELDS``, the functions by field name, and ``WITH_ARGUMENT``, for fields with an argument, functions
of the record and the argument.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from tiercel_agent.events.fields import container, evt, fd, identity, k8s, path, proc, uncertain
from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_engine.event import Value
from tiercel_engine.fields import FAMILIES

_PARTS = (evt, proc, fd, path, identity, container, k8s, uncertain)
FIELDS: dict[str, Callable[[SyscallRecord], Value | None]] = {k: v for part in _PARTS for k, v in part.FIELDS.items()}
WITH_ARGUMENT: dict[str, Callable[[SyscallRecord, str], Value | None]] = {
    k: v for part in _PARTS for k, v in part.WITH_ARGUMENT.items()
}


def _no_value(_record: SyscallRecord) -> None:
    return None


@lru_cache(4096)
def extractor(key: str) -> Callable[[SyscallRecord], Value | None]:
    """The function for a key such as ``fd.name``, ``proc.aname[2]`` or ``evt.arg.flags``."""
    plain = FIELDS.get(key)
    if plain is not None:
        return plain
    name, bracket, rest = key.partition("[")
    if bracket:
        argument = rest.removesuffix("]")
    else:
        name, argument = next(
            ((family, key[len(family) + 1 :]) for family in FAMILIES if key.startswith(family + ".")), (key, "")
        )
    function = WITH_ARGUMENT.get(name)
    if function is None:
        return _no_value
    return lambda record: function(record, argument)
