"""The event types: one for each system call, named as in the field `evt.type`, and one for the end of a process.

An event is one system call when it returns, whether it succeeded or not (`evt.dir` is always ``<``).
"""

from __future__ import annotations

from collections.abc import Mapping

from tiercel_engine.system_calls import SYSTEM_CALLS

SYSCALL_EVENT_TYPES: frozenset[str] = frozenset(
    # files: opened, and changed by name or by descriptor
    "open openat openat2 creat open_by_handle_at name_to_handle_at "
    "unlink unlinkat rmdir mkdir mkdirat rename renameat renameat2 link linkat symlink symlinkat mknod mknodat "
    "chmod fchmod fchmodat chown fchown lchown fchownat truncate ftruncate "
    "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr "
    "mount umount2 chroot pivot_root chdir fchdir "
    "fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr quotactl swapon swapoff "
    "fanotify_init fanotify_mark inotify_init inotify_init1 inotify_add_watch "
    # descriptors
    "dup dup2 dup3 close "
    # sockets
    "socket socketpair bind connect listen accept accept4 shutdown sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg "
    # processes and their privileges
    "execve execveat clone clone3 fork vfork procexit "
    "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups setsid setpgid capset prctl "
    "personality ptrace process_vm_readv process_vm_writev process_madvise pidfd_open pidfd_getfd "
    "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal "
    "setns unshare seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self keyctl "
    # the kernel itself
    "init_module finit_module delete_module kexec_load kexec_file_load reboot iopl ioperm bpf perf_event_open "
    "userfaultfd memfd_create memfd_secret io_uring_setup io_uring_register".split()
)
"""Those that a rule watches which names no types. Others are frequent, or of little interest, and are watched for rules
that name them."""

EVENT_TYPES: Mapping[str, frozenset[str]] = {"syscall": SYSCALL_EVENT_TYPES}
"""The event types of each event source that rules watch unless they name others. A rule for another source is skipped
with the warning LOAD_UNKNOWN_SOURCE."""

FALCO_ALONE = frozenset(
    "drop scapevent switch page_fault signaldeliver procinfo cpu_hotplug infra notification container asyncevent "
    "pluginevent useradded userdeleted groupadded groupdeleted task task_file_anon_inode task_file_directory "
    "task_file_memfd task_file_pipe task_file_regular task_file_socket_inet task_file_socket_inet6 "
    "task_file_socket_netlink task_file_socket_unix syscall umount".split()
)
"""Event types of Falco that are no system calls, or those of 32-bit programs alone."""

OBSERVABLE: Mapping[str, frozenset[str]] = {"syscall": SYSCALL_EVENT_TYPES | SYSTEM_CALLS.keys()}
"""All event types of each event source."""
