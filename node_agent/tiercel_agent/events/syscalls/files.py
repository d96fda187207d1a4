"""Calls on files, and on the tree of mounts, roots and working folders."""

from __future__ import annotations

from tiercel_agent.events.syscalls.model import (
    FREE_TEXT,
    OPEN_HOW,
    RETURNED,
    SUBJECT_PATH,
    TEXT_BEHIND,
    by_path,
    by_two_paths,
    on,
    opening,
    plain,
)

OPENS = (
    opening("open", "name=path0:path flags=1:open mode=2:mode dev=dev:dev ino=ino", flags=SUBJECT_PATH),
    opening("openat", "dirfd=0:fd name=path0:path flags=2:open mode=3:mode dev=dev:dev ino=ino", 1, 0, SUBJECT_PATH),
    opening(
        "openat2",
        "dirfd=0:fd name=path0:path flags=how0:open mode=how1:mode resolve=how2:resolve dev=dev:dev ino=ino",
        1,
        0,
        OPEN_HOW | SUBJECT_PATH,
    ),
    opening("creat", "name=path0:path mode=1:mode dev=dev:dev ino=ino flags=creat:open", flags=SUBJECT_PATH),
    on(RETURNED, "open_by_handle_at", "fd=res:result mountfd=0:fd flags=2:open path=file:path"),
    by_path("name_to_handle_at", "dirfd=0:fd path=path0:path flags=4:at", 1, 0),
)

NAMES = (
    by_path("unlink", "path=path0:path"),
    by_path("unlinkat", "dirfd=0:fd name=path0:path path=path0:path flags=2:unlink", 1, 0),
    by_path("rmdir", "path=path0:path"),
    by_path("mkdir", "path=path0:path mode=1:mode"),
    by_path("mkdirat", "dirfd=0:fd path=path0:path mode=2:mode", 1, 0),
    by_two_paths("rename", "oldpath=path0:path newpath=path1:path", (0, 1)),
    by_two_paths("renameat", "olddirfd=0:fd oldpath=path0:path newdirfd=2:fd newpath=path1:path", (1, 3), (0, 2)),
    by_two_paths(
        "renameat2",
        "olddirfd=0:fd oldpath=path0:path newdirfd=2:fd newpath=path1:path flags=4:rename",
        (1, 3),
        (0, 2),
    ),
    by_two_paths("link", "oldpath=path0:path newpath=path1:path", (0, 1)),
    by_two_paths("linkat", "olddir=0:fd oldpath=path0:path newdir=2:fd newpath=path1:path flags=4:at", (1, 3), (0, 2)),
    by_two_paths("symlink", "target=text0:text linkpath=path1:path", (0, 1), flags=FREE_TEXT),
    by_two_paths("symlinkat", "target=text0:text linkdirfd=1:fd linkpath=path1:path", (0, 2), (-1, 1), FREE_TEXT),
    by_path("mknod", "path=path0:path mode=1:mode dev=2:dev"),
    by_path("mknodat", "dirfd=0:fd path=path0:path mode=2:mode dev=3:dev", 1, 0),
)

ATTRIBUTES = (
    by_path("chmod", "filename=path0:path mode=1:mode"),
    by_path("fchmodat", "dirfd=0:fd filename=path0:path mode=2:mode", 1, 0),
    on(0, "fchmod", "fd=0:fd mode=1:mode"),
    by_path("chown", "path=path0:path uid=1:uid gid=2:gid"),
    by_path("lchown", "path=path0:path uid=1:uid gid=2:gid"),
    by_path("fchownat", "dirfd=0:fd path=path0:path uid=2:uid gid=3:gid flags=4:at", 1, 0),
    on(0, "fchown", "fd=0:fd uid=1:uid gid=2:gid"),
    by_path("truncate", "path=path0:path length=1:long"),
    on(0, "ftruncate", "fd=0:fd length=1:long"),
    by_two_paths("setxattr", "path=path0:path name=text1:text flags=4:xattr", (0, 1), flags=TEXT_BEHIND),
    by_two_paths("lsetxattr", "path=path0:path name=text1:text flags=4:xattr", (0, 1), flags=TEXT_BEHIND),
    on(0, "fsetxattr", "fd=0:fd flags=4:xattr"),
    by_two_paths("removexattr", "path=path0:path name=text1:text", (0, 1), flags=TEXT_BEHIND),
    by_two_paths("lremovexattr", "path=path0:path name=text1:text", (0, 1), flags=TEXT_BEHIND),
    on(0, "fremovexattr", "fd=0:fd"),
    by_path("utime", "path=path0:path"),
    by_path("utimes", "path=path0:path"),
    by_path("futimesat", "dirfd=0:fd path=path0:path", 1, 0),
    by_path("utimensat", "dirfd=0:fd path=path0:path flags=3:at", 1, 0),
)

TREE = (
    by_two_paths("mount", "dev=text0:text dir=path1:path flags=3:mount", (0, 1), flags=FREE_TEXT),
    by_path("umount2", "name=path0:path flags=1:umount"),
    by_path("fsopen", "name=text0:text flags=1:hex", flags=FREE_TEXT),
    by_two_paths(
        "fsconfig", "fd=0:fd cmd=1:fsconfig key=text0:text value=text1:text", (2, 3), flags=FREE_TEXT | TEXT_BEHIND
    ),
    on(0, "fsmount", "fd=0:fd flags=1:hex attr_flags=2:hex"),
    by_path("fspick", "dirfd=0:fd path=path0:path flags=2:hex", 1, 0),
    by_two_paths(
        "move_mount",
        "from_dirfd=0:fd from_path=path0:path to_dirfd=2:fd to_path=path1:path flags=4:hex",
        (1, 3),
        (0, 2),
    ),
    by_path("open_tree", "dirfd=0:fd path=path0:path flags=2:hex", 1, 0),
    by_path("mount_setattr", "dirfd=0:fd path=path0:path flags=2:hex", 1, 0),
    by_path("chroot", "path=path0:path"),
    by_two_paths("pivot_root", "new_root=path0:path put_old=path1:path", (0, 1)),
    by_path("chdir", "path=path0:path"),
    on(0, "fchdir", "fd=0:fd"),
    by_path("quotactl", "cmd=0:hex special=path0:path id=2", 1),
    by_path("swapon", "path=path0:path flags=1:hex"),
    by_path("swapoff", "path=path0:path"),
    by_path("acct", "path=path0:path"),
)

WATCHES = (
    plain("fanotify_init", "flags=0:hex event_f_flags=1:open"),
    by_path("fanotify_mark", "fd=0:fd flags=1:hex mask=2:hex dirfd=3:fd path=path0:path", 4, 3),
    plain("inotify_init"),
    plain("inotify_init1", "flags=0:open"),
    by_path("inotify_add_watch", "fd=0:fd path=path0:path mask=2:hex", 1),
    on(0, "inotify_rm_watch", "fd=0:fd wd=1"),
)

DESCRIPTORS = (
    # what a dup is about is the new one
    on(RETURNED, "dup", "res=res:result oldfd=0:fd"),
    on(RETURNED, "dup2", "res=res:result oldfd=0:fd newfd=1:fd"),
    on(RETURNED, "dup3", "res=res:result oldfd=0:fd newfd=1:fd flags=2:open"),
    plain("close", "fd=0:fd"),
    plain("close_range", "first=0 last=1 flags=2:hex"),
    on(0, "fcntl", "fd=0:fd cmd=1:fcntl arg=2:hex"),
    on(0, "ioctl", "fd=0:fd request=1:request argument=2:upper_hex"),
    on(0, "flock", "fd=0:fd operation=1:flock"),
)

CONTENT = (
    on(0, "read", "fd=0:fd size=2:size"),
    on(0, "readv", "fd=0:fd"),
    on(0, "pread", "fd=0:fd size=2:size"),
    on(0, "preadv", "fd=0:fd"),
    on(0, "preadv2", "fd=0:fd"),
    on(0, "write", "fd=0:fd size=2:size"),
    on(0, "writev", "fd=0:fd"),
    on(0, "pwrite", "fd=0:fd size=2:size"),
    on(0, "pwritev", "fd=0:fd"),
    on(0, "pwritev2", "fd=0:fd"),
    on(0, "lseek", "fd=0:fd"),
    on(0, "sendfile", "out_fd=0:fd in_fd=1:fd size=3:size"),
    on(0, "splice", "fd_in=0:fd fd_out=2:fd size=4:size flags=5:hex"),
    on(0, "tee", "fd_in=0:fd fd_out=1:fd size=2:size flags=3:hex"),
    on(0, "vmsplice", "fd=0:fd flags=3:hex"),
    on(0, "copy_file_range", "fd_in=0:fd fd_out=2:fd size=4:size"),
    on(0, "fallocate", "fd=0:fd mode=1:hex"),
)

LOOKS = (
    by_path("stat", "path=path0:path"),
    by_path("lstat", "path=path0:path"),
    on(0, "fstat", "fd=0:fd"),
    by_path("newfstatat", "dirfd=0:fd path=path0:path flags=3:at", 1, 0),
    by_path("statx", "dirfd=0:fd path=path0:path flags=2:at", 1, 0),
    by_path("access", "name=path0:path mode=1:access"),
    by_path("faccessat", "dirfd=0:fd name=path0:path mode=2:access", 1, 0),
    by_path("faccessat2", "dirfd=0:fd name=path0:path mode=2:access flags=3:at", 1, 0),
    by_path("readlink", "path=path0:path"),
    by_path("readlinkat", "dirfd=0:fd path=path0:path", 1, 0),
    on(0, "getdents", "fd=0:fd"),
    on(0, "getdents64", "fd=0:fd"),
)

CALLS = (*OPENS, *NAMES, *ATTRIBUTES, *TREE, *WATCHES, *DESCRIPTORS, *CONTENT, *LOOKS)
