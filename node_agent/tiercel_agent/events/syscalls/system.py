"""Calls on the kernel itself."""

from __future__ import annotations

from tiercel_agent.events.syscalls.model import (
    FREE_TEXT,
    RETURNED,
    Family,
    Syscall,
    by_path,
    on,
    parameters,
    plain,
)

CALLS = (
    by_path("init_module", "length=1:size uargs=text0:text", 2, flags=FREE_TEXT),
    on(0, "finit_module", "fd=0:fd flags=2:module"),
    by_path("delete_module", "name=text0:text flags=1:open", flags=FREE_TEXT),
    plain("kexec_load", "flags=3:hex"),
    on(0, "kexec_file_load", "fd=0:fd initrd_fd=1:fd flags=4:hex"),
    Syscall("bpf", parameters("res=res:result cmd=0:bpf id=bpf_id:text"), Family.DESCRIPTOR, address=1),
    plain("perf_event_open", "pid=1 cpu=2"),
    plain("userfaultfd", "flags=0:open"),
    by_path("memfd_create", "name=text0:text flags=1:memfd", flags=FREE_TEXT),
    on(RETURNED, "memfd_secret", "fd=res:result flags=0:open"),
    plain("io_uring_setup", "entries=0"),
    on(0, "io_uring_enter", "fd=0:fd to_submit=1 min_complete=2 flags=3:hex"),
    on(0, "io_uring_register", "fd=0:fd opcode=1 nr_args=3"),
    plain("reboot", "cmd=2:request"),
    plain("iopl", "level=0"),
    plain("ioperm", "from=0:size number=1:size turn_on=2"),
)
