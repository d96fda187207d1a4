"""``evt.*``: the event itself, one system call at its return."""

from __future__ import annotations

from tiercel_engine.fields.model import Argument, ArgumentKind, Field, FieldType

FIELDS: tuple[Field, ...] = (
    Field("evt.num", FieldType.INTEGER, "The number of the event, counted from 1 since detection started."),
    Field("evt.time", FieldType.STRING, "The local time of day of the event, with nanoseconds."),
    Field("evt.time.s", FieldType.STRING, "The local time of day of the event, in whole seconds."),
    Field("evt.time.iso8601", FieldType.STRING, "The time of the event in ISO 8601, in UTC and with nanoseconds."),
    Field("evt.datetime", FieldType.STRING, "The local date and time of the event, with nanoseconds."),
    Field("evt.datetime.s", FieldType.STRING, "The local date and time of the event, in whole seconds."),
    Field("evt.rawtime", FieldType.TIME, "The time of the event in nanoseconds since the epoch."),
    Field("evt.rawtime.s", FieldType.INTEGER, "The whole seconds of the event's time since the epoch."),
    Field("evt.rawtime.ns", FieldType.INTEGER, "The nanoseconds of the event's time beyond the whole second."),
    Field("evt.hostname", FieldType.STRING, "The name of the machine, or of the Kubernetes node, that saw the event."),
    Field("evt.source", FieldType.STRING, "The source of the event, such as syscall."),
    Field("evt.dir", FieldType.STRING, "The direction of the event, always < because events are seen at return."),
    Field("evt.type", FieldType.STRING, "The name of the system call, such as openat."),
    Field("syscall.type", FieldType.STRING, "The name of the system call, the same as evt.type."),
    Field(
        "evt.category", FieldType.STRING, "What the system call deals with: file, net, ipc, process, user or system."
    ),
    Field("evt.args", FieldType.STRING, "All arguments of the system call as name=value, separated by blanks."),
    Field("evt.info", FieldType.STRING, "All arguments of the system call, the same as evt.args."),
    Field(
        "evt.arg",
        FieldType.STRING,
        "One argument of the system call as text, by its name (evt.arg.flags) or position (evt.arg[0]).",
        argument=Argument.REQUIRED,
        argument_kind=ArgumentKind.KEY,
    ),
    Field(
        "evt.rawarg",
        FieldType.STRING,
        "One argument of the system call as passed: an integer where it is one, otherwise text.",
        argument=Argument.REQUIRED,
        argument_kind=ArgumentKind.KEY,
    ),
    Field("evt.abspath", FieldType.STRING, "The absolute path that the call acts on.", names_file=True),
    Field(
        "evt.abspath.src",
        FieldType.STRING,
        "The absolute path that a rename starts from, or the file that gets a link.",
        names_file=True,
    ),
    Field(
        "evt.abspath.dst",
        FieldType.STRING,
        "The absolute path of the new name that a rename or link makes.",
        names_file=True,
    ),
    Field("evt.buffer", FieldType.BYTES, "The first bytes of the data that was sent or received."),
    Field("evt.buflen", FieldType.INTEGER, "The number of bytes in evt.buffer."),
    Field("evt.res", FieldType.STRING, "The result as a word: SUCCESS, or the name of the error such as ENOENT."),
    Field(
        "evt.rawres", FieldType.INTEGER, "The result as the kernel returned it: negative for an error, -2 for ENOENT."
    ),
    Field("evt.failed", FieldType.BOOLEAN, "Whether the system call returned an error."),
    Field(
        "tiercel.targets_agent",
        FieldType.BOOLEAN,
        "Whether the call is aimed at the agent: its process, that one's files in /proc, its programs and maps.",
    ),
    Field("evt.is_io", FieldType.BOOLEAN, "Whether the system call carries data through a descriptor."),
    Field("evt.is_io_read", FieldType.BOOLEAN, "Whether the system call receives data, as recvfrom does."),
    Field("evt.is_io_write", FieldType.BOOLEAN, "Whether the system call sends data, as sendto does."),
    Field("evt.io_dir", FieldType.STRING, "The direction of data: r for receiving, w for sending."),
    Field("evt.is_open_read", FieldType.BOOLEAN, "Whether a call of the open family asks to read the file."),
    Field("evt.is_open_write", FieldType.BOOLEAN, "Whether a call of the open family asks to write the file."),
    Field(
        "evt.is_open_exec",
        FieldType.BOOLEAN,
        "Whether a call of the open family creates a file with a permission to execute.",
    ),
    Field("evt.is_open_create", FieldType.BOOLEAN, "Whether a call of the open family may create the file."),
    Field(
        "evt.is_io_uring",
        FieldType.BOOLEAN,
        "Whether the call is an operation of io_uring, which a program has done without making the call.",
    ),
    Field(
        "tiercel.uncertain",
        FieldType.STRING,
        "Which texts aren't known as a whole: program, arguments, environment, executable, working directory, file "
        "name, ancestors.",
    ),
)

ARGUMENTS: dict[str, str] = {
    "name": "The absolute path, for the open family and unlinkat.",
    "path": "The absolute path, for mkdir, rmdir, unlink, chown, chdir and the like.",
    "oldpath": "The absolute path that a rename or hard link starts from.",
    "newpath": "The absolute path that a rename or hard link leads to.",
    "target": "The text that a symbolic link will hold.",
    "linkpath": "The absolute path of a symbolic link that is made.",
    "filename": "The absolute path that chmod acts on, or of the program that execve was asked to run.",
    "exe": "The first word of the command line that execve passes, argv[0].",
    "args": "The other words of the command line that execve passes.",
    "dirfd": "The descriptor of the folder that a relative path starts from, or AT_FDCWD.",
    "olddirfd": "The descriptor of the folder that the old path starts from, or AT_FDCWD.",
    "newdirfd": "The descriptor of the folder that the new path starts from, or AT_FDCWD.",
    "fd": "The descriptor that the call acts on or returned.",
    "flags": "The flags by name, joined by |, such as O_CREAT|O_WRONLY or CLONE_NEWUSER.",
    "mode": "The permissions by name, joined by |, such as S_IXUSR|S_IRUSR.",
    "domain": "The address family of a socket by name, such as AF_PACKET.",
    "type": "The type of a socket, or the file system type of a mount.",
    "proto": "The protocol number of a socket.",
    "addr": "The address that connect or bind was given.",
    "size": "The number of bytes that the caller wants to send or receive.",
    "uid": "The user that setuid changes to, by name where it has one, otherwise its number.",
    "gid": "The group that setgid changes to, by name where it has one, otherwise its number.",
    "pid": "The process that kill or ptrace acts on.",
    "sig": "The signal by name, such as SIGKILL.",
    "request": "The request of ptrace by name, such as PTRACE_ATTACH.",
    "cmd": "The command of bpf by name, such as BPF_PROG_LOAD.",
    "nstype": "The kind of namespace that setns joins by name, such as CLONE_NEWNET.",
    "option": "The option of prctl by name, such as PR_SET_NAME.",
    "dev": "The device, or source, of a mount.",
    "dir": "The folder that is mounted on.",
    "uargs": "The parameters that a kernel module is loaded with.",
    "img": "The address of a kernel module's image in the caller's memory.",
    "res": "The result as a word, as in evt.res, or as a number where the call returns one.",
    "res_or_fd": "The result of bpf: a descriptor or an error.",
}
"""The names of arguments under ``evt.arg.`` and their meanings, for all event types."""

NUMERIC_ARGUMENTS: frozenset[str] = frozenset(
    {"dirfd", "olddirfd", "newdirfd", "fd", "flags", "mode", "domain", "proto", "size", "uid", "gid", "pid", "sig"}
    | {"request", "cmd", "nstype", "option", "img", "res", "res_or_fd"}
)
"""The arguments for which ``evt.rawarg.`` gives an integer."""

FILE_ARGUMENTS: frozenset[str] = frozenset({"name", "path", "filename", "dir", "oldpath", "newpath", "linkpath"})
"""The arguments that name a file: they have its absolute path, which differs between the views of an event."""
