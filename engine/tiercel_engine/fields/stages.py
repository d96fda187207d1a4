"""Where each field can be tested first: in the kernel, once for each process, or in user space.

The agent's filter relies on these sets: for every event, it takes a field of a set as determined by what the set is
named after. Fields in none of the sets can be tested in user space only.
"""

from __future__ import annotations

from tiercel_engine.fields.model import Stage

OWN = frozenset(
    "proc.name proc.exe proc.exepath proc.args proc.cmdline proc.exeline proc.cmdnargs proc.cmdlenargs proc.env "
    "proc.pid proc.vpid proc.is_exe_writable proc.is_exe_upper_layer proc.is_exe_lower_layer "
    "proc.is_exe_from_memfd proc.exe_ino proc.exe_ino.ctime proc.exe_ino.mtime thread.cap_permitted "
    "thread.cap_inheritable thread.cap_effective user.uid group.gid "
    "container.id container.full_id container.name container.type container.image container.image.id "
    "container.image.repository container.image.tag container.image.digest container.privileged container.host_pid "
    "container.host_network container.host_ipc container.mounts container.mount container.mount.source "
    "container.mount.dest container.mount.mode container.mount.rdwr container.mount.propagation container.healthcheck "
    "container.liveness_probe container.readiness_probe container.start_ts container.ip container.cni.json "
    "container.label container.labels k8s.pod.name k8s.pod.uid k8s.pod.id k8s.pod.sandbox_id k8s.pod.full_sandbox_id "
    "k8s.pod.label k8s.pod.labels k8s.pod.annotation k8s.pod.service_account k8s.pod.ip k8s.pod.cni.json k8s.ns.name "
    "k8s.ns.id k8s.ns.label k8s.ns.labels k8s.rc.name k8s.rs.name k8s.deployment.name k8s.owner.kind k8s.owner.name "
    "k8s.node.name k8s.node.label".split()
)
"""Determined by the process alone, including what is known of its container: results for a process are forgotten when
something about its container changes. Fields are left out if they change without notice: terminals, sessions, process
groups, logins, and the names of users and groups, which come from files and servers and may change at any time."""

PROCESS = OWN | frozenset(
    "proc.pname proc.aname proc.pexe proc.aexe proc.pexepath proc.aexepath proc.aargs proc.pcmdline proc.acmdline "
    "proc.aenv proc.ppid proc.apid".split()
)
"""Determined by the process and its ancestors."""

CALL = frozenset(
    "evt.type syscall.type evt.dir evt.category evt.source evt.hostname evt.is_io evt.is_io_read evt.is_io_write "
    "evt.io_dir evt.res evt.failed".split()
)
"""Determined by the system call and its result."""

FLAGS = frozenset({"evt.is_open_read", "evt.is_open_write", "evt.is_open_create"})
"""Determined by the flags of a call that opens a file, if the flags are an argument."""

NAME_ARGUMENTS = frozenset({"evt.arg.name", "evt.arg.path", "evt.arg.filename"})
NAME = frozenset("fd.name fd.directory fd.filename fs.path.name evt.abspath".split())
"""Determined by the name of the file that a call opens; so are the arguments above, if the call has them."""

RAW_NAME = frozenset({"fd.nameraw", "fs.path.nameraw"})
"""Determined by the name of the file as it was passed."""

OPENED = frozenset({"fd.type", "fd.typechar"})
"""Determined by the kind of file that was opened."""

CONNECTION = frozenset(
    "fd.cip fd.sip fd.lip fd.rip fd.ip fd.net fd.cnet fd.snet fd.lnet fd.rnet fd.sport fd.rport fd.sproto fd.rproto "
    "fd.l4proto fd.type fd.typechar fd.sockfamily fd.is_server".split()
)
"""Determined by a socket and the two ends of its connection."""

CLIENT_PORT = frozenset({"fd.rport", "fd.rproto"})
"""The port of the client, which differs for each accepted connection."""

ARGUMENTS = frozenset(f"evt.arg.{name}" for name in "cmd domain flags mode nstype option request sig type".split())
"""Arguments of some calls, which have few different values."""

NUMBERS = frozenset({"evt.rawres", "fd.num"})
"""Determined by the result, if it is compared with small numbers."""

CERTAIN = ("evt.type", "syscall.type", "evt.source", "container.", "k8s.", "user.", "group.")
"""How the names of text fields begin whose values are known as a whole or not at all. Of others, only a part may be
known (``tiercel_engine.uncertain``)."""

_KERNEL = frozenset({"evt.is_open_exec"}).union(
    CALL, FLAGS, NAME, NAME_ARGUMENTS, RAW_NAME, OPENED, CONNECTION, ARGUMENTS, NUMBERS
)


def stage_of(name: str) -> Stage:
    """The stage of a field of the registry."""
    if name in PROCESS:
        return Stage.PROCESS
    return Stage.KERNEL if name in _KERNEL else Stage.USER
