"""Which of the kernel's hooks serve which calls: the programs of bpf/hooks.c, and what they capture (bpf/capture.h)."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

FILE, NAMES, SOCKET = 1, 2, 4
"""CAPTURES_… of bpf/maps.h: the file that a call opens; places in the tree; a socket and an address."""


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
    _hook("on_path_mkdir", NAMES, "mkdir mkdirat"),
    _hook("on_path_mknod", NAMES, "mknod mknodat"),
    _hook("on_path_rmdir", NAMES, "rmdir unlinkat"),
    _hook("on_path_unlink", NAMES, "unlink unlinkat"),
    _hook("on_path_symlink", NAMES, "symlink symlinkat"),
    _hook("on_path_link", NAMES, "link linkat"),
    _hook("on_path_rename", NAMES, "rename renameat renameat2"),
    _hook("on_path_chmod", NAMES, "chmod fchmodat"),
    _hook("on_path_chown", NAMES, "chown lchown fchownat"),
    _hook("on_path_truncate", NAMES, "truncate"),
    _hook("on_path_chroot", NAMES, "chroot"),
    _hook("on_sb_mount", NAMES, "mount"),
    _hook("on_sb_set_mnt_opts", NAMES, "mount fsconfig"),
    _hook("on_move_mount", NAMES, "move_mount"),
    _hook("on_sb_umount", NAMES, "umount2"),
    _hook("on_sb_pivotroot", NAMES, "pivot_root"),
    _hook("on_socket_connect", SOCKET, "connect"),
    _hook("on_socket_bind", SOCKET, "bind"),
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
