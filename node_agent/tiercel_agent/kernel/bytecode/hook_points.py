"""The kernel's own hooks, and the programs at them (bpf/hooks.c)."""

from __future__ import annotations

from collections.abc import Mapping

HOOK_POINTS: Mapping[str, str] = {
    f"on_{point}": point
    for point in (
        "file_open",
        *("path_mkdir", "path_mknod", "path_rmdir", "path_unlink", "path_symlink", "path_link", "path_rename"),
        *("path_chmod", "path_chown", "path_truncate", "path_chroot"),
        *("sb_mount", "move_mount", "sb_umount", "sb_pivotroot", "sb_set_mnt_opts"),
        *("socket_connect", "socket_bind"),
    )
}
"""The hook of each program, by the name that LSMs have for it; the kernel's function is ``security_`` and that name."""
