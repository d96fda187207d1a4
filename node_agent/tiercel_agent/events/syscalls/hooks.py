"""Which of the kernel's hooks serve which calls: the programs of bpf/hooks.c, and what they capture (bpf/capture.h)."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

FILE, CALL = 1, 2
"""CAPTURES_… of bpf/maps.h: the file that a call opens; places in the tree, or a socket and an address."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A program at a hook, what it captures, and the calls of which it does."""

    program: str
    captures: int
    calls: frozenset[str]


def _hook(program: str, captures: int, calls: str) -> Hook:
    return Hook(program, captures, frozenset(calls.split()))


HOOKS = (
    _hook("on_file_open", FILE, "open openat openat2 creat"),
    _hook("on_path_mkdir", CALL, "mkdir mkdirat"),
    _hook("on_path_mknod", CALL, "mknod mknodat"),
    _hook("on_path_rmdir", CALL, "rmdir unlinkat"),
    _hook("on_path_unlink", CALL, "unlink unlinkat"),
    _hook("on_path_symlink", CALL, "symlink symlinkat"),
    _hook("on_path_link", CALL, "link linkat"),
    _hook("on_path_rename", CALL, "rename renameat renameat2"),
    _hook("on_path_chmod", CALL, "chmod fchmodat fchmodat2"),
    _hook("on_path_chown", CALL, "chown lchown fchownat"),
    _hook("on_path_truncate", CALL, "truncate"),
    _hook("on_path_chroot", CALL, "chroot"),
    _hook("on_sb_mount", CALL, "mount"),
    _hook("on_sb_kern_mount", CALL, "mount fsmount"),
    _hook("on_move_mount", CALL, "move_mount"),
    _hook("on_sb_umount", CALL, "umount2"),
    _hook("on_sb_pivotroot", CALL, "pivot_root"),
    _hook("on_socket_connect", CALL, "connect"),
    _hook("on_socket_bind", CALL, "bind"),
)


def needed(calls: Iterable[str]) -> frozenset[str]:
    """The programs at hooks that serve these calls."""
    asked = frozenset(calls)
    return frozenset(hook.program for hook in HOOKS if hook.calls & asked)


def captures(programs: Container[str]) -> Mapping[str, int]:
    """What these programs capture, by call."""
    found: dict[str, int] = {}
    for hook in HOOKS:
        if hook.program in programs:
            found.update({call: found.get(call, 0) | hook.captures for call in hook.calls})
    return found
