"""``evt.*``: the call, its result and its arguments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from tiercel_agent.context.words import Words
from tiercel_agent.events import render
from tiercel_agent.events.aimed import bpf_id, is_aimed_at
from tiercel_agent.events.descriptor import End, OpenFile, read_sockaddr
from tiercel_agent.events.fields import fd, identity
from tiercel_agent.events.images import text
from tiercel_agent.events.names import in_order
from tiercel_agent.events.opens import CREAT_FLAGS, creation_mode, makes_nameless, open_flags, open_how
from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_agent.events.syscalls import BY_NAME, Parameter
from tiercel_agent.kernel import records
from tiercel_agent.kernel.records import Section
from tiercel_engine.event import Value
from tiercel_engine.uncertain import Beginning, Uncertain, is_uncertain

_S = 1_000_000_000
_READS = frozenset("read readv pread preadv preadv2 recvfrom recvmsg recvmmsg".split())
_WRITES = frozenset("write writev pwrite pwritev pwritev2 sendto sendmsg sendmmsg".split())
_O_CREAT, _O_ACCMODE, _O_WRONLY = 0o100, 3, 1
_EXECUTABLE = 0o111
_CATEGORIES = {
    "file": "open openat openat2 creat open_by_handle_at unlink unlinkat rmdir mkdir mkdirat rename renameat renameat2 "
    "link linkat symlink symlinkat mknod mknodat chmod fchmod fchmodat chown fchown lchown fchownat truncate ftruncate "
    "mount umount2 chroot pivot_root chdir fchdir name_to_handle_at stat lstat fstat newfstatat statx access faccessat "
    "faccessat2 readlink readlinkat getdents getdents64 getcwd lseek flock setxattr lsetxattr fsetxattr removexattr "
    "lremovexattr fremovexattr utime utimes futimesat utimensat fsopen fsconfig fsmount fspick move_mount open_tree "
    "mount_setattr swapon swapoff fallocate",
    "net": "socket bind connect listen accept accept4 sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg shutdown "
    "setsockopt getsockopt getsockname getpeername",
    "process": "execve execveat clone clone3 fork vfork procexit setns unshare ptrace prctl seccomp capset "
    "process_vm_readv process_vm_writev process_madvise pidfd_open pidfd_getfd setsid setpgid getrlimit setrlimit "
    "prlimit personality",
    "user": "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups getuid geteuid getgid "
    "getegid getresuid getresgid quotactl",
    "signal": "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal signalfd signalfd4",
    "memory": "brk mmap munmap mprotect pkey_mprotect mlock mlock2 mlockall munlock munlockall "
    "memfd_create memfd_secret",
    "ipc": "futex pipe pipe2 eventfd eventfd2 socketpair inotify_init inotify_init1 inotify_add_watch inotify_rm_watch",
    "wait": "poll ppoll select pselect6 epoll_create epoll_create1 epoll_wait epoll_pwait epoll_pwait2",
    "sleep": "nanosleep clock_nanosleep",
    "time": "timerfd_create",
    "io-read": "read readv pread preadv preadv2",
    "io-write": "write writev pwrite pwritev pwritev2 sendfile",
    "io-other": "fcntl ioctl splice tee vmsplice copy_file_range close_range io_uring_enter io_uring_register",
}
_CATEGORY = {name: category for category, names in _CATEGORIES.items() for name in names.split()}


def _reads(record: SyscallRecord) -> Value | None:
    flags = open_flags(record)
    return None if flags is None else flags & _O_ACCMODE != _O_WRONLY


def _writes(record: SyscallRecord) -> Value | None:
    flags = open_flags(record)
    return None if flags is None else flags & _O_ACCMODE != 0


def _creates(record: SyscallRecord) -> Value | None:
    if open_flags(record) is None:
        return None
    opened = record.descriptor
    created = isinstance(opened, OpenFile) and bool(opened.facts.traits & records.CREATED)
    return created or makes_nameless(record)


def _creates_executable(record: SyscallRecord) -> Value | None:
    flags = open_flags(record)
    return None if flags is None else bool(flags & _O_CREAT and creation_mode(record) & _EXECUTABLE)


def _raw(record: SyscallRecord, parameter: Parameter) -> int | None:
    """The number that an argument has, or None if it is text."""
    source = parameter.source
    if len(source) == 1:
        return int(record.header[5 + int(source)])
    if source.startswith("how"):
        return open_how(record, int(source[3]))
    if source == "res":
        return record.header.result
    if source == "creat":
        return CREAT_FLAGS
    descriptor = record.descriptor
    if isinstance(descriptor, OpenFile) and source in ("ino", "dev"):
        return descriptor.facts.inode if source == "ino" else descriptor.facts.device
    return None


def _argument_text(record: SyscallRecord, parameter: Parameter) -> str | None:
    raw = _raw(record, parameter)
    if raw is None:
        return _TEXTS[parameter.source](record) if parameter.source in _TEXTS else None
    match parameter.kind:
        case "result":
            return str(raw) if raw >= 0 else render.result_name(raw)
        case "uid":
            return identity.user_name(record, raw & 0xFFFFFFFF) or str(render.signed32(raw))
        case "gid":
            return identity.group_name(record, raw & 0xFFFFFFFF) or str(render.signed32(raw))
    return render.KINDS[parameter.kind](raw)


def _string(kind: int) -> Callable[[SyscallRecord], str | None]:
    def read(record: SyscallRecord) -> str | None:
        section = record.sections.get(kind)
        if section is None:
            return None
        return Beginning(text(section[1])) if section[0] else text(section[1])

    return read


def _first_path(record: SyscallRecord) -> str | None:
    names = record.names
    return names.path.given or in_order(record, names)[0].given


def _second_path(record: SyscallRecord) -> str | None:
    names = record.names
    return in_order(record, names)[1].given or names.path.given


def _passed_address(record: SyscallRecord) -> str | None:
    section = record.sections.get(Section.ADDRESS)
    address = read_sockaddr(section[1]) if section else None
    return f"{address.address}:{address.port}" if isinstance(address, End) else address


def _data(record: SyscallRecord) -> str | None:
    section = record.sections.get(Section.DATA)
    return section[1].decode("utf-8", "replace") if section else None


def _passed_words(record: SyscallRecord) -> Words:
    """The arguments that a call passes to a program. If it has failed, they were counted as far as they were read."""
    if record.header.type == records.EXEC:
        return record.image.arguments
    length, raw = record.sections.get(Section.ARGS, (0, b""))
    return Words(raw, length, length)


def _exe_flags(record: SyscallRecord) -> str | None:
    facts = record.image.exe
    if facts is None:
        return None
    names = ["EXE_WRITABLE"] if record.may_write_executable else []
    names += [
        name
        for trait, name in ((records.UPPER_LAYER, "EXE_UPPER_LAYER"), (records.LOWER_LAYER, "EXE_LOWER_LAYER"))
        if facts.traits & trait
    ]
    if facts.traits & records.DETACHED and record.image.exe_path.startswith("memfd:"):
        names.append("EXE_FROM_MEMFD")
    return "|".join(names) or "0"


def _clone3_flags(record: SyscallRecord) -> str | None:
    section = record.sections.get(Section.ADDRESS)
    if section is None or len(section[1]) < 8:
        return None
    return render.KINDS["clone"](int.from_bytes(section[1][:8], "little"))


def _bpf_id(record: SyscallRecord) -> str | None:
    number = bpf_id(record)
    return None if number is None else str(number)


_TEXTS: dict[str, Callable[[SyscallRecord], str | None]] = {
    "path0": _first_path,
    "path1": _second_path,
    "text0": _string(Section.PATH_0),
    "text1": _string(Section.PATH_1),
    "clone3_flags": _clone3_flags,
    "file": lambda record: record.names.fd.given,
    "address": _passed_address,
    "tuple": fd.name,
    "data": _data,
    "exe": lambda record: _passed_words(record).at(0),
    "args": lambda record: _passed_words(record).joined(1),
    "exe_flags": _exe_flags,
    "bpf_id": _bpf_id,
}


@lru_cache(1024)
def _parameter(call: str, name: str) -> Parameter | None:
    parameters = BY_NAME[call].parameters if call in BY_NAME else ()
    if name.isdecimal():
        return parameters[int(name)] if int(name) < len(parameters) else None
    return next((parameter for parameter in parameters if parameter.name == name), None)


def argument(record: SyscallRecord, name: str) -> Value | None:
    parameter = _parameter(record.call.name, name)
    if parameter is None and name in ("res", "res_or_fd"):
        return str(record.header.result) if record.header.result >= 0 else render.result_name(record.header.result)
    return _argument_text(record, parameter) if parameter else None


def raw_argument(record: SyscallRecord, name: str) -> Value | None:
    parameter = _parameter(record.call.name, name)
    if parameter is None:
        return None
    raw = _raw(record, parameter)
    if raw is None:
        kind = {"path0": Section.PATH_0, "path1": Section.PATH_1}.get(parameter.source)
        return _string(kind)(record) if kind else _argument_text(record, parameter)
    return render.signed32(raw) if parameter.kind in ("fd", "int") else raw


def arguments(record: SyscallRecord) -> str:
    shown = [(parameter.name, _argument_text(record, parameter)) for parameter in record.call.parameters]
    joined = " ".join(f"{name}={value}" for name, value in shown if value is not None)
    return Uncertain(joined) if any(is_uncertain(value) for _, value in shown) else joined


def _local(record: SyscallRecord, form: str) -> str:
    return datetime.fromtimestamp(record.time // _S).astimezone().strftime(form)


def _nanoseconds(record: SyscallRecord) -> str:
    return f"{record.time % _S:09d}"


def _utc(record: SyscallRecord) -> str:
    moment = datetime.fromtimestamp(record.time // _S, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{_nanoseconds(record)}Z"


def _buffer(record: SyscallRecord) -> Value | None:
    section = record.sections.get(Section.DATA)
    return section[1] if section else None


def _direction(record: SyscallRecord) -> str | None:
    return "r" if record.call.name in _READS else "w" if record.call.name in _WRITES else None


def _name(record: SyscallRecord) -> str:
    return record.call.name


FIELDS: dict[str, Callable[[SyscallRecord], Value | None]] = {
    "evt.num": lambda record: record.number,
    "evt.time": lambda record: f"{_local(record, '%H:%M:%S')}.{_nanoseconds(record)}",
    "evt.time.s": lambda record: _local(record, "%H:%M:%S"),
    "evt.time.iso8601": _utc,
    "evt.datetime": lambda record: f"{_local(record, '%Y-%m-%d %H:%M:%S')}.{_nanoseconds(record)}",
    "evt.datetime.s": lambda record: _local(record, "%Y-%m-%d %H:%M:%S"),
    "evt.rawtime": lambda record: record.time,
    "evt.rawtime.s": lambda record: record.time // _S,
    "evt.rawtime.ns": lambda record: record.time % _S,
    "evt.hostname": lambda record: record.context.hostname,
    "evt.source": lambda _record: "syscall",
    "evt.dir": lambda _record: "<",
    "evt.type": _name,
    "syscall.type": _name,
    "evt.category": lambda record: _CATEGORY.get(record.call.name, "system"),
    "evt.args": arguments,
    "evt.info": arguments,
    "evt.buffer": _buffer,
    "evt.buflen": lambda record: len(record.sections[Section.DATA][1]) if Section.DATA in record.sections else None,
    "evt.res": lambda record: render.result_name(record.header.result),
    "evt.rawres": lambda record: record.header.result,
    "evt.failed": lambda record: record.header.result < 0,
    "evt.is_io": lambda record: record.call.name in _READS or record.call.name in _WRITES,
    "evt.is_io_read": lambda record: record.call.name in _READS,
    "evt.is_io_write": lambda record: record.call.name in _WRITES,
    "evt.io_dir": _direction,
    "evt.is_open_read": _reads,
    "evt.is_open_write": _writes,
    "evt.is_open_create": _creates,
    "evt.is_open_exec": _creates_executable,
    "evt.is_io_uring": lambda record: bool(record.header.flags & records.RING),
    "tiercel.targets_agent": lambda record: is_aimed_at(record, record.context.own),
}
WITH_ARGUMENT: dict[str, Callable[[SyscallRecord, str], Value | None]] = {
    "evt.arg": argument,
    "evt.rawarg": raw_argument,
}
