"""``proc.*`` and ``thread.*``: the process, its ancestors and its groups."""

from __future__ import annotations

from collections.abc import Callable

from tiercel_agent.events import render
from tiercel_agent.events.images import NO_IMAGE, Image, text
from tiercel_agent.events.processes import Process
from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_agent.kernel import records
from tiercel_agent.kernel.records import FileFacts, ProcessRef
from tiercel_engine.event import Value
from tiercel_engine.uncertain import UNKNOWN, Unknown, like, prefixed

_S = 1_000_000_000


def _exe(image: Image) -> str | None:
    return UNKNOWN if image is NO_IMAGE else image.arguments.at(0)


def _args(image: Image) -> str:
    return UNKNOWN if image is NO_IMAGE else image.arguments.joined(1)


def _cmdline(comm: str, image: Image) -> str:
    several = image is NO_IMAGE or image.arguments.count > 1 or image.arguments.is_cut
    return prefixed(f"{comm} ", _args(image)) if several else comm


def _exe_path(image: Image) -> str | None:
    return UNKNOWN if image is NO_IMAGE else image.exe_path or None


def _env(image: Image) -> str | None:
    if image is NO_IMAGE:
        return UNKNOWN
    return image.environment.joined() if image.environment is not None and image.environment.raw else None


def _if_known(read: Callable[[Image], int]) -> Callable[[Image], Value | None]:
    return lambda image: None if image is NO_IMAGE else read(image)


def _own(read: Callable[[Image], Value | None]) -> Callable[[SyscallRecord], Value | None]:
    return lambda record: read(record.image)


def _of_parent(read: Callable[[Image], Value | None]) -> Callable[[SyscallRecord], Value | None]:
    return lambda record: read(record.ancestor_image(0)) if record.ancestors else None


def _name(ref: ProcessRef, _image: Image) -> Value | None:
    return text(ref.comm)


_OF_ANCESTORS: dict[str, Callable[[ProcessRef, Image], Value | None]] = {
    "proc.aname": _name,
    "proc.aexe": lambda _ref, image: _exe(image),
    "proc.aexepath": lambda _ref, image: _exe_path(image),
    "proc.aargs": lambda _ref, image: _args(image),
    "proc.acmdline": lambda ref, image: _cmdline(text(ref.comm), image),
    "proc.aenv": lambda _ref, image: _env(image),
    "proc.apid": lambda ref, _image: ref.pid,
}
_BY_REF_ALONE = frozenset({"proc.aname", "proc.apid"})


def _all_ancestors(field: str) -> Callable[[SyscallRecord], Value | None]:
    read, alone = _OF_ANCESTORS[field], field in _BY_REF_ALONE

    def extract(record: SyscallRecord) -> Value | None:
        values = [
            read(ref, NO_IMAGE if alone else record.ancestor_image(index)) for index, ref in enumerate(record.ancestors)
        ]
        if record.has_more_ancestors and field != "proc.apid":
            values.append(UNKNOWN)
        return [value for value in values if value is not None] or None  # type: ignore[return-value]

    return extract


def _one_ancestor(field: str) -> Callable[[SyscallRecord, str], Value | None]:
    read, alone = _OF_ANCESTORS[field], field in _BY_REF_ALONE

    def extract(record: SyscallRecord, argument: str) -> Value | None:
        if not argument.isdecimal():
            return None
        index = int(argument)
        if index == 0:
            return read(record.process, record.image)
        if index > len(record.ancestors):
            return UNKNOWN if record.has_more_ancestors and field != "proc.apid" else None
        ref = record.ancestors[index - 1]
        return read(ref, NO_IMAGE if alone else record.ancestor_image(index - 1))

    return extract


def _led_by(number: Callable[[SyscallRecord], int]) -> Callable[[SyscallRecord], Process | None]:
    """The leader of a session or group, as it was then. Records have its pid only; the pid isn't reused while a member
    lives."""

    def find(record: SyscallRecord) -> Process | None:
        return record.context.processes.at(number(record), record.header.time)

    return find


_session = _led_by(lambda record: record.header.sid)
_group = _led_by(lambda record: record.header.pgid)


def _leader_name(find: Callable[[SyscallRecord], Process | None]) -> Callable[[SyscallRecord], Value | None]:
    def extract(record: SyscallRecord) -> Value | None:
        leader = find(record)
        return leader.comm if leader else None

    return extract


def _leader_image(
    find: Callable[[SyscallRecord], Process | None], read: Callable[[Image], Value | None]
) -> Callable[[SyscallRecord], Value | None]:
    def extract(record: SyscallRecord) -> Value | None:
        leader = find(record)
        return read(leader.image) if leader else None

    return extract


def _exe_fact(read: Callable[[FileFacts], Value]) -> Callable[[SyscallRecord], Value | None]:
    def extract(record: SyscallRecord) -> Value | None:
        facts = record.image.exe
        return read(facts) if facts else None

    return extract


def _trait(bit: int) -> Callable[[SyscallRecord], Value | None]:
    """A field that is false where the executable is unknown, so that a rule may compare it with false."""

    def extract(record: SyscallRecord) -> Value | None:
        facts = record.image.exe
        return bool(facts and facts.traits & bit)

    return extract


def _from_memfd(record: SyscallRecord) -> Value | None:
    image = record.image
    return bool(image.exe and image.exe.traits & records.DETACHED and image.exe_path.startswith("memfd:"))


def _ctime(facts: FileFacts) -> int:
    return facts.ctime_s * _S + facts.ctime_ns


def _started(record: SyscallRecord) -> int:
    """Start of the process, in ns since the epoch."""
    return record.time - (record.header.time - record.process.start)


def _parent_started(record: SyscallRecord) -> int | None:
    return record.time - (record.header.time - record.ancestors[0].start) if record.ancestors else None


def _since_ctime(record: SyscallRecord) -> Value | None:
    facts = record.image.exe
    return max(_started(record) - _ctime(facts), 0) if facts else None


def _cwd(record: SyscallRecord) -> Value | None:
    section = record.sections.get(records.Section.CWD)
    path = records.path(section) if section else UNKNOWN if record.image is NO_IMAGE else record.image.cwd
    if not path:
        return path if isinstance(path, Unknown) else None
    return path if path.endswith("/") else like(path + "/", path)


def _env_value(record: SyscallRecord, name: str) -> Value | None:
    return _value_in(record.image, name)


def _value_in(image: Image, name: str) -> str | None:
    if image is NO_IMAGE:
        return UNKNOWN
    return image.environment.value_of(name) if image.environment is not None else None


def _ancestor_env(record: SyscallRecord, argument: str) -> Value | None:
    if argument.isdecimal():
        return _one_ancestor("proc.aenv")(record, argument)
    found = (_value_in(record.ancestor_image(index), argument) for index in range(len(record.ancestors)))
    return next((value for value in found if value is not None), None)


def _argument(record: SyscallRecord, argument: str) -> Value | None:
    if not argument.isdecimal():
        return None
    return UNKNOWN if record.image is NO_IMAGE else record.image.arguments.at(int(argument) + 1)


def _exeline(record: SyscallRecord) -> Value | None:
    if record.image is NO_IMAGE:
        return UNKNOWN
    return record.image.arguments.joined() if record.image.arguments.count else None


def _parent_vpid(record: SyscallRecord) -> Value | None:
    """Known only where the process is in the initial pid namespace, in which the two kinds of pids are the same."""
    return record.ancestors[0].pid if record.ancestors and record.header.vpid == record.process.pid else None


def _login_shell(record: SyscallRecord) -> Value | None:
    """The pid of the oldest one among the process and its ancestors whose name is that of a shell."""
    shell_pid = None
    for ref in (record.process, *record.ancestors):
        if ref.comm.lstrip(b"-") in (b"sh", b"bash", b"zsh", b"ksh", b"csh", b"tcsh", b"dash", b"fish", b"ash"):
            shell_pid = ref.pid
    return shell_pid


FIELDS: dict[str, Callable[[SyscallRecord], Value | None]] = {
    "proc.name": lambda record: text(record.process.comm),
    "proc.pname": lambda record: text(record.ancestors[0].comm) if record.ancestors else None,
    "proc.exe": _own(_exe),
    "proc.pexe": _of_parent(_exe),
    "proc.exepath": _own(_exe_path),
    "proc.pexepath": _of_parent(_exe_path),
    "proc.args": _own(_args),
    "proc.cmdline": lambda record: _cmdline(text(record.process.comm), record.image),
    "proc.pcmdline": lambda record: _one_ancestor("proc.acmdline")(record, "1"),
    "proc.exeline": _exeline,
    "proc.cmdnargs": _own(_if_known(lambda image: max(image.arguments.count - 1, 0))),
    "proc.cmdlenargs": _own(_if_known(lambda image: image.arguments.length_behind_first)),
    "proc.env": _own(_env),
    "proc.cwd": _cwd,
    "proc.pid": lambda record: record.process.pid,
    "proc.ppid": lambda record: record.ancestors[0].pid if record.ancestors else None,
    "proc.vpid": lambda record: record.header.vpid,
    "proc.pvpid": _parent_vpid,
    "proc.tty": lambda record: record.header.tty,
    "proc.loginshellid": _login_shell,
    "proc.sid": lambda record: record.header.sid,
    "proc.sname": _leader_name(_session),
    "proc.sid.exe": _leader_image(_session, _exe),
    "proc.sid.exepath": _leader_image(_session, _exe_path),
    "proc.is_sid_leader": lambda record: record.header.sid == record.process.pid,
    "proc.pgid": lambda record: record.header.pgid,
    "proc.pgid.name": _leader_name(_group),
    "proc.pgid.exe": _leader_image(_group, _exe),
    "proc.pgid.exepath": _leader_image(_group, _exe_path),
    "proc.is_pgid_leader": lambda record: record.header.pgid == record.process.pid,
    "proc.vpgid": lambda record: record.header.vpgid,
    "proc.vpgid.name": _leader_name(_group),
    "proc.vpgid.exe": _leader_image(_group, _exe),
    "proc.vpgid.exepath": _leader_image(_group, _exe_path),
    "proc.is_vpgid_leader": lambda record: record.header.vpgid == record.header.vpid,
    "proc.pid.ts": _started,
    "proc.ppid.ts": _parent_started,
    "proc.duration": lambda record: record.header.time - record.process.start,
    "proc.ppid.duration": lambda record: record.header.time - record.ancestors[0].start if record.ancestors else None,
    "proc.is_exe_writable": lambda record: record.may_write_executable,
    "proc.is_exe_upper_layer": _trait(records.UPPER_LAYER),
    "proc.is_exe_lower_layer": _trait(records.LOWER_LAYER),
    "proc.is_exe_from_memfd": _from_memfd,
    "proc.exe_ino": _exe_fact(lambda facts: facts.inode),
    "proc.exe_ino.ctime": _exe_fact(_ctime),
    "proc.exe_ino.mtime": _exe_fact(lambda facts: facts.mtime_s * _S + facts.mtime_ns),
    "proc.exe_ino.ctime_duration_proc_start": _since_ctime,
    "thread.cap_permitted": lambda record: render.capabilities(record.header.cap_permitted),
    "thread.cap_effective": lambda record: render.capabilities(record.header.cap_effective),
    "thread.cap_inheritable": lambda record: render.capabilities(record.header.cap_inheritable),
    "thread.tid": lambda record: record.header.tid,
    "thread.vtid": lambda record: record.header.vtid,
    "thread.ismain": lambda record: record.header.tid == record.process.pid,
    **{field: _all_ancestors(field) for field in _OF_ANCESTORS},
}
WITH_ARGUMENT: dict[str, Callable[[SyscallRecord, str], Value | None]] = {
    **{field: _one_ancestor(field) for field in _OF_ANCESTORS},
    "proc.args": _argument,
    "proc.env": _env_value,
    "proc.aenv": _ancestor_env,
}
