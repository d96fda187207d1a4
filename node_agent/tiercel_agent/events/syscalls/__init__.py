"""The system calls that are observed: what the kernel adds to each, and their arguments by name.

Argument names are those that Falco's rules use in ``evt.arg.<name>``, in the order of ``evt.args``.
"""

from tiercel_agent.events.syscalls.hooks import HOOKS, Hook, captures, needed
from tiercel_agent.events.syscalls.kernel_plans import CHANGES_PROCESS, keyed, known_numbers, native_numbers, plans
from tiercel_agent.events.syscalls.model import (
    FREE_TEXT,
    ONLY_FAILED,
    RETURNED,
    SENDS,
    SUBJECT_END,
    SUBJECT_PATH,
    TEXT_BEHIND,
    Family,
    Parameter,
    Syscall,
)
from tiercel_agent.events.syscalls.table import BY_NAME, SYSCALLS

__all__ = [
    "BY_NAME",
    "CHANGES_PROCESS",
    "FREE_TEXT",
    "HOOKS",
    "ONLY_FAILED",
    "RETURNED",
    "SENDS",
    "SUBJECT_END",
    "SUBJECT_PATH",
    "SYSCALLS",
    "TEXT_BEHIND",
    "Family",
    "Hook",
    "Parameter",
    "Syscall",
    "captures",
    "keyed",
    "known_numbers",
    "native_numbers",
    "needed",
    "plans",
]
