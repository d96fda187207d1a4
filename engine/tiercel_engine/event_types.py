"""The event types: one for each system call that can be observed, named as in the field `evt.type`.

An event is one system call when it returns, whether it succeeded or not (`evt.dir` is always ``<``).
"""

from __future__ import annotations

SYSCALL_EVENT_TYPES: frozenset[str] = frozenset(
    # files: opened, and changed by name or by descriptor
    "open openat openat2 creat open_by_handle_at "
    "unlink unlinkat rmdir mkdir mkdirat rename renameat renameat2 link linkat symlink symlinkat mknod mknodat "
    "chmod fchmod fchmodat chown fchown lchown fchownat truncate ftruncate "
    "mount umount2 chroot pivot_root chdir fchdir "
    # descriptors
    "dup dup2 dup3 close "
    # sockets
    "socket bind connect listen accept accept4 sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg "
    # processes and their privileges
    "execve execveat clone clone3 fork vfork procexit "
    "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setsid setpgid capset prctl "
    "ptrace process_vm_readv process_vm_writev kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal "
    "setns unshare seccomp keyctl "
    # the kernel itself
    "init_module finit_module delete_module bpf perf_event_open userfaultfd memfd_create io_uring_setup".split()
)

EVENT_TYPES: dict[str, frozenset[str]] = {"syscall": SYSCALL_EVENT_TYPES}
"""The event types of each event source. A rule for another source is skipped with the warning LOAD_UNKNOWN_SOURCE."""
