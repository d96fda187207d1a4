"""Calls that make, change and reach into processes."""

from __future__ import annotations

from tiercel_agent.events.syscalls.model import ONLY_FAILED, RETURNED, Family, Syscall, on, parameters, plain

_EXEC = parameters("res=res:result exe=exe:text args=args:text filename=path0:path flags=exe_flags:text")

MAKING = (
    # an exec that succeeds is reported as the new image stands (bpf/processes.c)
    Syscall("execve", _EXEC, Family.EXEC, (0, -1), flags=ONLY_FAILED),
    Syscall("execveat", _EXEC, Family.EXEC, (1, -1), (0, -1), flags=ONLY_FAILED),
    plain("clone", "flags=0:clone"),
    # its arguments are a structure, which begins with the flags
    Syscall("clone3", parameters("res=res:result flags=clone3_flags:text"), Family.DESCRIPTOR, address=0),
    plain("fork"),
    plain("vfork"),
    Syscall("procexit", parameters("status=res:int")),
)

IDENTITIES = (
    plain("setuid", "uid=0:uid"),
    plain("setgid", "gid=0:gid"),
    plain("setreuid", "ruid=0:uid euid=1:uid"),
    plain("setregid", "rgid=0:gid egid=1:gid"),
    plain("setresuid", "ruid=0:uid euid=1:uid suid=2:uid"),
    plain("setresgid", "rgid=0:gid egid=1:gid sgid=2:gid"),
    plain("setfsuid", "uid=0:uid"),
    plain("setfsgid", "gid=0:gid"),
    plain("setgroups", "size=0"),
    plain("setsid"),
    plain("setpgid", "pid=0 pgid=1"),
    plain("capset"),
    plain("prctl", "option=0:prctl arg2_int=1:long"),
    plain("personality", "persona=0:request"),
)

REACHING = (
    plain("ptrace", "request=0:ptrace pid=1 addr=2:hex data=3:hex"),
    plain("process_vm_readv", "pid=0"),
    plain("process_vm_writev", "pid=0"),
    on(0, "process_madvise", "fd=0:fd advice=3"),
    on(RETURNED, "pidfd_open", "fd=res:result pid=0 flags=1:hex"),
    on(RETURNED, "pidfd_getfd", "fd=res:result pid_fd=0:fd target_fd=1 flags=2:hex"),
    plain("kill", "pid=0 sig=1:signal"),
    plain("tkill", "tid=0 sig=1:signal"),
    plain("tgkill", "pid=0 tid=1 sig=2:signal"),
    plain("rt_sigqueueinfo", "pid=0 sig=1:signal"),
    plain("rt_tgsigqueueinfo", "pid=0 tid=1 sig=2:signal"),
    on(0, "pidfd_send_signal", "fd=0:fd sig=1:signal"),
    plain("setrlimit", "resource=0"),
    plain("prlimit", "pid=0 resource=1"),
)

CONFINEMENT = (
    on(0, "setns", "fd=0:fd nstype=1:clone"),
    plain("unshare", "flags=0:clone"),
    plain("seccomp", "op=0 flags=1"),
    plain("landlock_create_ruleset", "flags=2:hex"),
    on(0, "landlock_add_rule", "fd=0:fd rule_type=1"),
    plain("landlock_restrict_self", "fd=0:fd flags=1:hex"),
    plain("keyctl", "option=0"),
)

MEMORY = (
    on(4, "mmap", "addr=0:hex length=1:size prot=2:prot flags=3:hex fd=4:fd"),
    plain("mprotect", "addr=0:hex length=1:size prot=2:prot"),
    plain("pkey_mprotect", "addr=0:hex length=1:size prot=2:prot"),
    plain("munmap", "addr=0:hex length=1:size"),
)

CALLS = (*MAKING, *IDENTITIES, *REACHING, *CONFINEMENT, *MEMORY)
