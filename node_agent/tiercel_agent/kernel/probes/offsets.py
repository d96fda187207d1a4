"""The members of kernel structures that the programs read, by the names of their offsets in the C code.

Several paths for one name are those of different kernels: the first one that exists is used.
"""

from __future__ import annotations

from tiercel_agent.kernel.probes.btf import Btf

X86 = {
    "REGS_NUMBER": ("pt_regs.orig_ax",),
    "REGS_DI": ("pt_regs.di",),
    "REGS_SI": ("pt_regs.si",),
    "REGS_DX": ("pt_regs.dx",),
    "REGS_R10": ("pt_regs.r10",),
    "REGS_R8": ("pt_regs.r8",),
    "REGS_R9": ("pt_regs.r9",),
    "REGS_BX": ("pt_regs.bx",),
    "REGS_CX": ("pt_regs.cx",),
    "REGS_BP": ("pt_regs.bp",),
    "TASK_STATUS": ("task_struct.thread_info.status",),
}
ARM64 = {
    "REGS_NUMBER": ("pt_regs.syscallno",),
    "REGS_ORIG_X0": ("pt_regs.orig_x0",),
    "REGS_X0": ("pt_regs.regs", "pt_regs.user_regs.regs"),
    "REGS_PSTATE": ("pt_regs.pstate", "pt_regs.user_regs.pstate"),
}
REQUIRED = {
    "TASK_PID": ("task_struct.pid",),
    "TASK_TGID": ("task_struct.tgid",),
    "TASK_GROUP_LEADER": ("task_struct.group_leader",),
    "TASK_REAL_PARENT": ("task_struct.real_parent",),
    "TASK_SELF_EXEC_ID": ("task_struct.self_exec_id",),
    "TASK_START_BOOTTIME": ("task_struct.start_boottime", "task_struct.real_start_time"),
    "TASK_COMM": ("task_struct.comm",),
    "TASK_CRED": ("task_struct.cred",),
    "TASK_SIGNAL": ("task_struct.signal",),
    "TASK_NSPROXY": ("task_struct.nsproxy",),
    "TASK_THREAD_PID": ("task_struct.thread_pid",),
    "TASK_MM": ("task_struct.mm",),
    "TASK_FS": ("task_struct.fs",),
    "TASK_FILES": ("task_struct.files",),
    "TASK_CHILDREN": ("task_struct.children",),
    "SIGNAL_THREADS": ("signal_struct.nr_threads",),
    "TASK_EXIT_CODE": ("task_struct.exit_code",),
    "PID_LEVEL": ("pid.level",),
    "PID_NUMBERS": ("pid.numbers",),
    "UPID_NR": ("upid.nr",),
    "UPID_NS": ("upid.ns",),
    "SIGNAL_LIVE": ("signal_struct.live",),
    "SIGNAL_TTY": ("signal_struct.tty",),
    "SIGNAL_PIDS": ("signal_struct.pids",),
    "TTY_DRIVER": ("tty_struct.driver",),
    "TTY_INDEX": ("tty_struct.index",),
    "DRIVER_MAJOR": ("tty_driver.major",),
    "DRIVER_MINOR": ("tty_driver.minor_start",),
    "CRED_EUID": ("cred.euid",),
    "CRED_EGID": ("cred.egid",),
    "CRED_CAP_PERMITTED": ("cred.cap_permitted",),
    "CRED_CAP_EFFECTIVE": ("cred.cap_effective",),
    "CRED_CAP_INHERITABLE": ("cred.cap_inheritable",),
    "CRED_USER_NS": ("cred.user_ns",),
    "NSPROXY_MNT": ("nsproxy.mnt_ns",),
    "NSPROXY_NET": ("nsproxy.net_ns",),
    "MNT_NS_INUM": ("mnt_namespace.ns.inum",),
    "NET_NS_INUM": ("net.ns.inum",),
    "PID_NS_INUM": ("pid_namespace.ns.inum",),
    "PID_NS_CHILD_REAPER": ("pid_namespace.child_reaper",),
    "USER_NS_INUM": ("user_namespace.ns.inum",),
    "MM_ARG_START": ("mm_struct.arg_start",),
    "MM_ARG_END": ("mm_struct.arg_end",),
    "MM_ENV_START": ("mm_struct.env_start",),
    "MM_ENV_END": ("mm_struct.env_end",),
    "MM_START_STACK": ("mm_struct.start_stack",),
    "MM_EXE_FILE": ("mm_struct.exe_file",),
    "BPRM_FILENAME": ("linux_binprm.filename",),
    "FS_ROOT": ("fs_struct.root",),
    "FS_PWD": ("fs_struct.pwd",),
    "PATH_MNT": ("path.mnt",),
    "PATH_DENTRY": ("path.dentry",),
    "MOUNT_MNT": ("mount.mnt",),
    "MOUNT_PARENT": ("mount.mnt_parent",),
    "MOUNT_MOUNTPOINT": ("mount.mnt_mountpoint",),
    "VFSMOUNT_ROOT": ("vfsmount.mnt_root",),
    "DENTRY_PARENT": ("dentry.d_parent",),
    "DENTRY_NAME": ("dentry.d_name.name",),
    "DENTRY_NAME_LENGTH": ("dentry.d_name.len",),
    "DENTRY_INODE": ("dentry.d_inode",),
    "FILE_PATH": ("file.f_path",),
    "FILE_INODE": ("file.f_inode",),
    "FILE_FLAGS": ("file.f_flags",),
    "FILE_MODE": ("file.f_mode",),
    "FILE_PRIVATE": ("file.private_data",),
    "FILES_FDT": ("files_struct.fdt",),
    "FILES_COUNT": ("files_struct.count",),
    "FDTABLE_MAX": ("fdtable.max_fds",),
    "FDTABLE_FD": ("fdtable.fd",),
    "INODE_SB": ("inode.i_sb",),
    "INODE_INO": ("inode.i_ino",),
    "INODE_MODE": ("inode.i_mode",),
    "INODE_NLINK": ("inode.i_nlink",),
    "INODE_UID": ("inode.i_uid",),
    "INODE_CTIME": ("inode.i_ctime_sec", "inode.__i_ctime.tv_sec", "inode.i_ctime.tv_sec"),
    "INODE_CTIME_NS": ("inode.i_ctime_nsec", "inode.__i_ctime.tv_nsec", "inode.i_ctime.tv_nsec"),
    "INODE_MTIME": ("inode.i_mtime_sec", "inode.__i_mtime.tv_sec", "inode.i_mtime.tv_sec"),
    "INODE_MTIME_NS": ("inode.i_mtime_nsec", "inode.__i_mtime.tv_nsec", "inode.i_mtime.tv_nsec"),
    "SUPER_DEV": ("super_block.s_dev",),
    "SUPER_MAGIC": ("super_block.s_magic",),
    "SUPER_BDEV": ("super_block.s_bdev",),
    "SUPER_ID": ("super_block.s_id",),
    "SOCKET_SK": ("socket.sk",),
    "SOCKET_FILE": ("socket.file",),
    "SOCK_FAMILY": ("sock.__sk_common.skc_family",),
    "SOCK_STATE": ("sock.__sk_common.skc_state",),
    "SOCK_LOCAL_PORT": ("sock.__sk_common.skc_num",),
    "SOCK_REMOTE_PORT": ("sock.__sk_common.skc_dport",),
    "SOCK_LOCAL_V4": ("sock.__sk_common.skc_rcv_saddr",),
    "SOCK_REMOTE_V4": ("sock.__sk_common.skc_daddr",),
    "SOCK_LOCAL_V6": ("sock.__sk_common.skc_v6_rcv_saddr",),
    "SOCK_REMOTE_V6": ("sock.__sk_common.skc_v6_daddr",),
    "SOCK_TYPE": ("sock.sk_type",),
    "SOCK_PROTOCOL": ("sock.sk_protocol",),
    "UNIX_ADDRESS": ("unix_sock.addr",),
    "UNIX_PEER": ("unix_sock.peer",),
    "UNIX_ADDRESS_LENGTH": ("unix_address.len",),
    "UNIX_ADDRESS_NAME": ("unix_address.name",),
}
SIZES = {"UPID_SIZE": "upid", "INODE_END": "inode", "REGS_SIZE": "pt_regs"}

OPTIONAL = {
    "TASK_LOGINUID": (("task_struct.loginuid",), "login users are unknown (user.loginuid, kernel without audit)"),
    "TASK_SESSIONID": (("task_struct.sessionid",), ""),
    "SOCK_USERLOCKS": (("sock.sk_userlocks",), ""),
    "ICSK_BIND_HASH": (("inet_connection_sock.icsk_bind_hash",), ""),
    "BUCKET_FASTREUSE": (("inet_bind_bucket.fastreuse",), ""),
    "TASK_CGROUPS": (("task_struct.cgroups",), ""),
    "CSS_SET_DFL_CGROUP": (("css_set.dfl_cgrp",), ""),
    "CGROUP_KN": (("cgroup.kn",), ""),
    "KERNFS_ID": (("kernfs_node.id",), ""),
    "CGROUP_ROOT": (("cgroup.root",), ""),
    "CGROUP_ROOT_HIERARCHY": (("cgroup_root.hierarchy_id",), ""),
    "BPRM_FDPATH": (("linux_binprm.fdpath",), "execveat is reported as execve (kernel older than 5.8)"),
}
"""Offsets that the programs work without, and what is missing then."""


class MissingMembers(Exception):
    """The kernel's structures lack members that the programs need; the message names them."""


def resolve(btf: Btf, machine: str) -> tuple[dict[str, int], list[str]]:
    """Offsets in bytes by name, and a line for each optional member that this kernel lacks.

    ``machine`` is the architecture (``x86_64`` or ``aarch64``). Raises MissingMembers with all members that are
    missing.
    """
    offsets: dict[str, int] = {}
    missing: list[str] = []
    for name, paths in (REQUIRED | (X86 if machine == "x86_64" else ARM64)).items():
        offset = next((offset for path in paths if (offset := btf.offset(path)) is not None), None)
        if offset is None:
            missing.append(paths[0])
        else:
            offsets[name] = offset
    for name, struct in SIZES.items():
        size = btf.size(struct)
        if size is None:
            missing.append(struct)
        else:
            offsets[name] = size
    if missing:
        raise MissingMembers(", ".join(missing))
    costs = []
    for name, (paths, cost) in OPTIONAL.items():
        offset = next((offset for path in paths if (offset := btf.offset(path)) is not None), None)
        if offset is not None:
            offsets[name] = offset
        elif cost:
            costs.append(cost)
    return offsets, costs
