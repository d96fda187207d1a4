"""``proc.*`` and ``thread.*``: the process, its ancestors and the thread that made the system call.

A process is described as it was at its last exec, its ancestors as they are now. Fields that may change without an
exec, a fork or a change of identity (working directory, open descriptors, age) are not of the stage PROCESS.
"""

from __future__ import annotations

from tiercel_engine.fields.model import Argument, ArgumentKind, Field, FieldType, Multiplicity


def _process(name: str, type_: FieldType, meaning: str) -> Field:
    return Field(name, type_, meaning)


def _ancestors(name: str, type_: FieldType, meaning: str, kind: ArgumentKind = ArgumentKind.INDEX) -> Field:
    """A field of the ancestors: without argument any ancestor except the process itself, with ``[n]`` the n-th.

    The process itself is number 0.
    """
    return Field(name, type_, meaning, multiplicity=Multiplicity.ANY, argument=Argument.OPTIONAL, argument_kind=kind)


_COMMAND: tuple[Field, ...] = (
    _process("proc.name", FieldType.STRING, "The name of the process, at most 15 bytes (the kernel's comm)."),
    _process("proc.pname", FieldType.STRING, "The name of the parent."),
    _ancestors("proc.aname", FieldType.STRING, "The name of any ancestor, or of the n-th (1 is the parent)."),
    _process("proc.exe", FieldType.STRING, "The first word of the command line, argv[0]."),
    _process("proc.pexe", FieldType.STRING, "The first word of the parent's command line."),
    _ancestors("proc.aexe", FieldType.STRING, "The first word of any ancestor's command line, or of the n-th's."),
    _process("proc.exepath", FieldType.STRING, "The path of the executable file as the kernel resolved it."),
    _process("proc.pexepath", FieldType.STRING, "The path of the parent's executable file."),
    _ancestors("proc.aexepath", FieldType.STRING, "The path of any ancestor's executable file, or of the n-th's."),
    Field(
        "proc.args",
        FieldType.STRING,
        "The command line without its first word, or its n-th argument, counted from 0.",
        argument=Argument.OPTIONAL,
        argument_kind=ArgumentKind.INDEX,
    ),
    _ancestors("proc.aargs", FieldType.STRING, "The arguments of any ancestor, or of the n-th."),
    _process("proc.cmdline", FieldType.STRING, "The name of the process and its arguments, separated by blanks."),
    _process("proc.pcmdline", FieldType.STRING, "The name of the parent and its arguments."),
    _ancestors("proc.acmdline", FieldType.STRING, "The name and arguments of any ancestor, or of the n-th."),
    _process("proc.exeline", FieldType.STRING, "The whole command line, argv[0] included."),
    _process("proc.cmdnargs", FieldType.INTEGER, "The number of arguments after argv[0]."),
    _process(
        "proc.cmdlenargs", FieldType.INTEGER, "The length of all arguments after argv[0], blanks between not counted."
    ),
    Field(
        "proc.env",
        FieldType.STRING,
        "The environment at exec as NAME=value separated by blanks, or the value of one variable.",
        argument=Argument.OPTIONAL,
    ),
    _ancestors(
        "proc.aenv",
        FieldType.STRING,
        "The environment of any ancestor, of the n-th, or the first value of a named variable among them.",
        ArgumentKind.KEY,
    ),
    Field("proc.cwd", FieldType.STRING, "The working directory of the process, with a slash at its end."),
)

_IDENTITY: tuple[Field, ...] = (
    _process("proc.pid", FieldType.INTEGER, "The process id, as the host counts."),
    _process("proc.ppid", FieldType.INTEGER, "The process id of the parent."),
    _ancestors("proc.apid", FieldType.INTEGER, "The process id of any ancestor, or of the n-th."),
    _process(
        "proc.vpid", FieldType.INTEGER, "The process id in the innermost PID namespace, 1 for a container's first."
    ),
    _process("proc.pvpid", FieldType.INTEGER, "The process id of the parent in its own PID namespace."),
    _process("proc.tty", FieldType.INTEGER, "The device number of the controlling terminal, 0 without one."),
    _process(
        "proc.loginshellid",
        FieldType.INTEGER,
        "The process id of the oldest shell among the process and its ancestors.",
    ),
    _process("proc.sid", FieldType.INTEGER, "The session id in the process's own PID namespace."),
    _process(
        "proc.sname", FieldType.STRING, "The name of the session's leader, or of the eldest ancestor in the session."
    ),
    _process("proc.sid.exe", FieldType.STRING, "The first word of the session leader's command line."),
    _process("proc.sid.exepath", FieldType.STRING, "The path of the session leader's executable file."),
    _process("proc.is_sid_leader", FieldType.BOOLEAN, "Whether the process leads its session."),
    _process("proc.pgid", FieldType.INTEGER, "The process group id, as the host counts."),
    _process("proc.pgid.name", FieldType.STRING, "The name of the process group's leader."),
    _process("proc.pgid.exe", FieldType.STRING, "The first word of the process group leader's command line."),
    _process("proc.pgid.exepath", FieldType.STRING, "The path of the process group leader's executable file."),
    _process("proc.is_pgid_leader", FieldType.BOOLEAN, "Whether the process leads its process group."),
    _process("proc.vpgid", FieldType.INTEGER, "The process group id in the innermost PID namespace."),
    _process("proc.vpgid.name", FieldType.STRING, "The name of the leader of the process group in the PID namespace."),
    _process("proc.vpgid.exe", FieldType.STRING, "The first word of that group leader's command line."),
    _process("proc.vpgid.exepath", FieldType.STRING, "The path of that group leader's executable file."),
    _process(
        "proc.is_vpgid_leader", FieldType.BOOLEAN, "Whether the process leads its process group in its PID namespace."
    ),
)

_TIMES: tuple[Field, ...] = (
    _process("proc.pid.ts", FieldType.TIME, "The time at which the process started, in nanoseconds since the epoch."),
    _process("proc.ppid.ts", FieldType.TIME, "The time at which the parent started, in nanoseconds since the epoch."),
    Field("proc.duration", FieldType.DURATION, "The age of the process at the event, in nanoseconds."),
    Field("proc.ppid.duration", FieldType.DURATION, "The age of the parent at the event, in nanoseconds."),
    _process(
        "proc.pidns_init_start_ts", FieldType.TIME, "The time at which the first process of the PID namespace started."
    ),
)

_EXECUTABLE: tuple[Field, ...] = (
    _process("proc.is_exe_writable", FieldType.BOOLEAN, "Whether the process's user may write its executable file."),
    _process(
        "proc.is_exe_upper_layer",
        FieldType.BOOLEAN,
        "Whether the executable file is in the writable layer of an overlay, so not part of the image.",
    ),
    _process(
        "proc.is_exe_lower_layer",
        FieldType.BOOLEAN,
        "Whether the executable file is in a read-only layer of an overlay.",
    ),
    _process(
        "proc.is_exe_from_memfd", FieldType.BOOLEAN, "Whether the executable exists only in memory (memfd_create)."
    ),
    _process("proc.exe_ino", FieldType.INTEGER, "The inode number of the executable file."),
    _process(
        "proc.exe_ino.ctime", FieldType.TIME, "The time of the executable file's last change of content or attributes."
    ),
    _process("proc.exe_ino.mtime", FieldType.TIME, "The time of the executable file's last change of content."),
    _process(
        "proc.exe_ino.ctime_duration_proc_start",
        FieldType.DURATION,
        "How long before the start of the process its executable file was changed, in nanoseconds.",
    ),
    _process(
        "proc.exe_ino.ctime_duration_pidns_start",
        FieldType.DURATION,
        "How long after the start of the PID namespace the executable file was changed, in nanoseconds.",
    ),
)

_DESCRIPTORS: tuple[Field, ...] = (
    Field("proc.stdin.type", FieldType.STRING, "The type of descriptor 0, as in fd.type."),
    Field("proc.stdout.type", FieldType.STRING, "The type of descriptor 1, as in fd.type."),
    Field("proc.stderr.type", FieldType.STRING, "The type of descriptor 2, as in fd.type."),
    Field("proc.stdin.name", FieldType.STRING, "The name of descriptor 0, as in fd.name."),
    Field("proc.stdout.name", FieldType.STRING, "The name of descriptor 1, as in fd.name."),
    Field("proc.stderr.name", FieldType.STRING, "The name of descriptor 2, as in fd.name."),
)

_PROBES: tuple[Field, ...] = (
    _process(
        "proc.is_container_healthcheck", FieldType.BOOLEAN, "Whether the process runs as the container's health check."
    ),
    _process(
        "proc.is_container_liveness_probe",
        FieldType.BOOLEAN,
        "Whether the process runs as the container's liveness probe.",
    ),
    _process(
        "proc.is_container_readiness_probe",
        FieldType.BOOLEAN,
        "Whether the process runs as the container's readiness probe.",
    ),
)

_THREAD: tuple[Field, ...] = (
    _process("thread.cap_permitted", FieldType.STRING, "The permitted capabilities by name, separated by blanks."),
    _process("thread.cap_inheritable", FieldType.STRING, "The inheritable capabilities by name, separated by blanks."),
    _process("thread.cap_effective", FieldType.STRING, "The effective capabilities by name, separated by blanks."),
    Field("thread.tid", FieldType.INTEGER, "The thread id, as the host counts."),
    Field("thread.vtid", FieldType.INTEGER, "The thread id in the innermost PID namespace."),
    Field("thread.ismain", FieldType.BOOLEAN, "Whether the thread is the first of its process."),
    _process(
        "thread.cgroups", FieldType.STRING, "The control groups of the thread as controller=path, separated by blanks."
    ),
    Field(
        "thread.cgroup",
        FieldType.STRING,
        "The path of the thread's control group for one controller, as in thread.cgroup.cpu.",
        argument=Argument.REQUIRED,
    ),
)

FIELDS: tuple[Field, ...] = (*_COMMAND, *_IDENTITY, *_TIMES, *_EXECUTABLE, *_DESCRIPTORS, *_PROBES, *_THREAD)
