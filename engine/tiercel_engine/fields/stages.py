"""Where each field can be tested first: in the kernel, once a process, or in user space.

The filter of the agent is made by these sets: what one of them holds, it takes for decided by what the set is named
for, whatever the event. What is in none of them only user space can test.
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
"""Decided by the process alone, what is known of its container included: what is learned of a process is forgotten
when something else becomes known. Left out is what changes unseen: terminals, sessions and groups, logins, and the
names of users and groups, which files and servers tell that may say otherwise tomorrow."""

PROCESS = OWN | frozenset(
    "proc.pname proc.aname proc.pexe proc.aexe proc.pexepath proc.aexepath proc.aargs proc.pcmdline proc.acmdline "
    "proc.aenv proc.ppid proc.apid".split()
)
"""Decided by the process and its ancestors."""

CALL = frozenset(
    "evt.type syscall.type evt.dir evt.category evt.source evt.hostname evt.is_io evt.is_io_read evt.is_io_write "
    "evt.io_dir evt.res evt.failed".split()
)
"""Decided by the call and its result."""

FLAGS = frozenset({"evt.is_open_read", "evt.is_open_write", "evt.is_open_create"})
"""Decided by the flags of a call that opens a file, where they are an argument."""

NAME_ARGUMENTS = frozenset({"evt.arg.name", "evt.arg.path", "evt.arg.filename"})
NAME = frozenset("fd.name fd.directory fd.filename fs.path.name evt.abspath".split())
"""Decided by the name of the file that a call opens; the arguments where the call has them."""

RAW_NAME = frozenset({"fd.nameraw", "fs.path.nameraw"})
"""Decided by that name as it was passed."""

OPENED = frozenset({"fd.type", "fd.typechar"})
"""Decided by what was opened."""

CONNECTION = frozenset(
    "fd.cip fd.sip fd.lip fd.rip fd.ip fd.net fd.cnet fd.snet fd.lnet fd.rnet fd.sport fd.rport fd.sproto fd.rproto "
    "fd.l4proto fd.type fd.typechar fd.sockfamily fd.is_server".split()
)
"""Decided by a socket and its ends."""

CLIENT_PORT = frozenset({"fd.rport", "fd.rproto"})
"""Of a connection that was accepted: another one each time."""

ARGUMENTS = frozenset(f"evt.arg.{name}" for name in "cmd domain flags mode nstype option request sig type".split())
"""Of some calls, whose arguments of that name have few values."""

NUMBERS = frozenset({"evt.rawres", "fd.num"})
"""The result, compared with small numbers."""

_KERNEL = frozenset({"evt.is_open_exec"}).union(
    CALL, FLAGS, NAME, NAME_ARGUMENTS, RAW_NAME, OPENED, CONNECTION, ARGUMENTS, NUMBERS
)


def stage_of(name: str) -> Stage:
    """The stage of a field of the registry."""
    if name in PROCESS:
        return Stage.PROCESS
    return Stage.KERNEL if name in _KERNEL else Stage.USER
