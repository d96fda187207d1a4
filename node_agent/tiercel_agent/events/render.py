"""Numbers as the names that rules compare with: flags joined by ``|``, enumerations by name.

Names and values are those of the kernel's uapi headers, except where Falco's rules spell a name in another way.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Mapping
from functools import lru_cache

_AT_FDCWD = -100


def signed32(value: int) -> int:
    """The low 32 bits as a C int."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value


def signed64(value: int) -> int:
    return value - (1 << 64) if value & (1 << 63) else value


def _flags(names: Mapping[int, str], zero: str = "0", mask: int = 0xFFFFFFFF) -> Callable[[int], str]:
    """A function that prints the names whose bits are all set. Larger values come first, so that a name for several
    bits is printed instead of the names of each."""
    table = sorted(names.items(), reverse=True)

    @lru_cache(1024)
    def render(value: int) -> str:
        value &= mask
        names = []
        for bits, name in table:
            if value & bits == bits:
                names.append(name)
                value &= ~bits
        if value:
            names.append(hex(value))
        return "|".join(reversed(names)) or zero

    return render


def _enum(names: Mapping[int, str]) -> Callable[[int], str]:
    def render(value: int) -> str:
        value = signed32(value)
        return names.get(value, str(value))

    return render


_ACCESS = {0: "O_RDONLY", 1: "O_WRONLY", 2: "O_RDWR", 3: "O_RDWR"}
_OPEN_BITS = _flags(
    {
        0o100: "O_CREAT",
        0o200: "O_EXCL",
        0o400: "O_NOCTTY",
        0o1000: "O_TRUNC",
        0o2000: "O_APPEND",
        0o4000: "O_NONBLOCK",
        0o10000: "O_DSYNC",
        0o4010000: "O_SYNC",
        0o20000: "FASYNC",
        0o40000: "O_DIRECT",
        0o100000: "O_LARGEFILE",
        0o200000: "O_DIRECTORY",
        0o400000: "O_NOFOLLOW",
        0o1000000: "O_NOATIME",
        0o2000000: "O_CLOEXEC",
        0o10000000: "O_PATH",
        0o20200000: "O_TMPFILE",
    },
    zero="",
)


@lru_cache(1024)
def open_flags(value: int) -> str:
    rest = _OPEN_BITS(value & ~3)
    return _ACCESS[value & 3] + (f"|{rest}" if rest else "")


_mode = _flags(
    {
        0o4000: "S_ISUID",
        0o2000: "S_ISGID",
        0o1000: "S_ISVTX",
        0o400: "S_IRUSR",
        0o200: "S_IWUSR",
        0o100: "S_IXUSR",
        0o40: "S_IRGRP",
        0o20: "S_IWGRP",
        0o10: "S_IXGRP",
        0o4: "S_IROTH",
        0o2: "S_IWOTH",
        0o1: "S_IXOTH",
    },
    mask=0o7777,
)
_CLONE = {
    0x80: "CLONE_NEWTIME",
    0x100: "CLONE_VM",
    0x200: "CLONE_FS",
    0x400: "CLONE_FILES",
    0x800: "CLONE_SIGHAND",
    0x1000: "CLONE_PIDFD",
    0x2000: "CLONE_PTRACE",
    0x4000: "CLONE_VFORK",
    0x8000: "CLONE_PARENT",
    0x10000: "CLONE_THREAD",
    0x20000: "CLONE_NEWNS",
    0x40000: "CLONE_SYSVSEM",
    0x80000: "CLONE_SETTLS",
    0x100000: "CLONE_PARENT_SETTID",
    0x200000: "CLONE_CHILD_CLEARTID",
    0x800000: "CLONE_UNTRACED",
    0x1000000: "CLONE_CHILD_SETTID",
    0x2000000: "CLONE_NEWCGROUP",
    0x4000000: "CLONE_NEWUTS",
    0x8000000: "CLONE_NEWIPC",
    0x10000000: "CLONE_NEWUSER",
    0x20000000: "CLONE_NEWPID",
    0x40000000: "CLONE_NEWNET",
    0x80000000: "CLONE_IO",
}
_clone_bits = _flags(_CLONE)
_SOCKET_TYPES = {
    1: "SOCK_STREAM",
    2: "SOCK_DGRAM",
    3: "SOCK_RAW",
    4: "SOCK_RDM",
    5: "SOCK_SEQPACKET",
    10: "SOCK_PACKET",
}
_socket_flags = _flags({0o2000000: "SOCK_CLOEXEC", 0o4000: "SOCK_NONBLOCK"}, zero="")
_DOMAINS = {
    0: "AF_UNSPEC",
    1: "AF_UNIX",
    2: "AF_INET",
    10: "AF_INET6",
    15: "AF_KEY",
    16: "AF_NETLINK",
    17: "AF_PACKET",
    29: "AF_CAN",
    31: "AF_BLUETOOTH",
    38: "AF_ALG",
    40: "AF_VSOCK",
    44: "AF_XDP",
}
_PTRACE = {
    0: "PTRACE_TRACEME",
    1: "PTRACE_PEEKTEXT",
    2: "PTRACE_PEEKDATA",
    3: "PTRACE_PEEKUSR",
    4: "PTRACE_POKETEXT",
    5: "PTRACE_POKEDATA",
    6: "PTRACE_POKEUSR",
    7: "PTRACE_CONT",
    8: "PTRACE_KILL",
    9: "PTRACE_SINGLESTEP",
    12: "PTRACE_GETREGS",
    13: "PTRACE_SETREGS",
    14: "PTRACE_GETFPREGS",
    15: "PTRACE_SETFPREGS",
    16: "PTRACE_ATTACH",
    17: "PTRACE_DETACH",
    24: "PTRACE_SYSCALL",
    0x4200: "PTRACE_SETOPTIONS",
    0x4201: "PTRACE_GETEVENTMSG",
    0x4202: "PTRACE_GETSIGINFO",
    0x4203: "PTRACE_SETSIGINFO",
    0x4204: "PTRACE_GETREGSET",
    0x4205: "PTRACE_SETREGSET",
    0x4206: "PTRACE_SEIZE",
    0x4207: "PTRACE_INTERRUPT",
    0x4208: "PTRACE_LISTEN",
    0x4209: "PTRACE_PEEKSIGINFO",
}
_BPF = [
    "BPF_MAP_CREATE",
    "BPF_MAP_LOOKUP_ELEM",
    "BPF_MAP_UPDATE_ELEM",
    "BPF_MAP_DELETE_ELEM",
    "BPF_MAP_GET_NEXT_KEY",
    "BPF_PROG_LOAD",
    "BPF_OBJ_PIN",
    "BPF_OBJ_GET",
    "BPF_PROG_ATTACH",
    "BPF_PROG_DETACH",
    "BPF_PROG_TEST_RUN",
    "BPF_PROG_GET_NEXT_ID",
    "BPF_MAP_GET_NEXT_ID",
    "BPF_PROG_GET_FD_BY_ID",
    "BPF_MAP_GET_FD_BY_ID",
    "BPF_OBJ_GET_INFO_BY_FD",
    "BPF_PROG_QUERY",
    "BPF_RAW_TRACEPOINT_OPEN",
    "BPF_BTF_LOAD",
    "BPF_BTF_GET_FD_BY_ID",
    "BPF_TASK_FD_QUERY",
    "BPF_MAP_LOOKUP_AND_DELETE_ELEM",
    "BPF_MAP_FREEZE",
    "BPF_BTF_GET_NEXT_ID",
    "BPF_MAP_LOOKUP_BATCH",
    "BPF_MAP_LOOKUP_AND_DELETE_BATCH",
    "BPF_MAP_UPDATE_BATCH",
    "BPF_MAP_DELETE_BATCH",
    "BPF_LINK_CREATE",
    "BPF_LINK_UPDATE",
    "BPF_LINK_GET_FD_BY_ID",
    "BPF_LINK_GET_NEXT_ID",
    "BPF_ENABLE_STATS",
    "BPF_ITER_CREATE",
    "BPF_LINK_DETACH",
    "BPF_PROG_BIND_MAP",
    "BPF_TOKEN_CREATE",
]
_PRCTL = {
    1: "PR_SET_PDEATHSIG",
    4: "PR_SET_DUMPABLE",
    8: "PR_SET_KEEPCAPS",
    15: "PR_SET_NAME",
    16: "PR_GET_NAME",
    22: "PR_SET_SECCOMP",
    23: "PR_CAPBSET_READ",
    24: "PR_CAPBSET_DROP",
    28: "PR_SET_SECUREBITS",
    35: "PR_SET_MM",
    36: "PR_SET_CHILD_SUBREAPER",
    38: "PR_SET_NO_NEW_PRIVS",
    47: "PR_CAP_AMBIENT",
    0x59616D61: "PR_SET_PTRACER",
}
_MOUNT = {
    1: "RDONLY",
    2: "NOSUID",
    4: "NODEV",
    8: "NOEXEC",
    16: "SYNCHRONOUS",
    32: "REMOUNT",
    64: "MANDLOCK",
    128: "DIRSYNC",
    1024: "NOATIME",
    2048: "NODIRATIME",
    4096: "BIND",
    8192: "MOVE",
    16384: "REC",
    32768: "SILENT",
    1 << 16: "POSIXACL",
    1 << 17: "UNBINDABLE",
    1 << 18: "PRIVATE",
    1 << 19: "SLAVE",
    1 << 20: "SHARED",
    1 << 21: "RELATIME",
}
_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
_CAPABILITY_NAMES = [f"CAP_{name}" for name in _CAPABILITIES.split()]


@lru_cache(256)
def capabilities(mask: int) -> str:
    """A capability set as names separated by blanks; "" for the empty one."""
    return " ".join(name for bit, name in enumerate(_CAPABILITY_NAMES) if mask >> bit & 1)


def _socket_type(value: int) -> str:
    flags = _socket_flags(value & ~0xF)
    name = _SOCKET_TYPES.get(value & 0xF, str(value & 0xF))
    return f"{name}|{flags}" if flags else name


def _signal(value: int) -> str:
    number = signed32(value)
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _fd(value: int) -> str:
    number = signed32(value)
    return "AT_FDCWD" if number == _AT_FDCWD else str(number)


def _device(value: int) -> str:
    return hex(value & 0xFFFFFFFF)


def result_name(result: int) -> str:
    """``SUCCESS``, or the name of the error."""
    if result >= 0:
        return "SUCCESS"
    return errno.errorcode.get(-result, str(result))


_FCNTL = {
    **dict(enumerate("F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_GETLK F_SETLK F_SETLKW F_SETOWN F_GETOWN".split())),
    **dict(enumerate("F_SETSIG F_GETSIG F_GETLK F_SETLK F_SETLKW F_SETOWN_EX F_GETOWN_EX F_GETOWNER_UIDS".split(), 10)),
    **dict(enumerate("F_OFD_GETLK F_OFD_SETLK F_OFD_SETLKW".split(), 36)),
    **{1024: "F_SETLEASE", 1025: "F_GETLEASE", 1026: "F_NOTIFY", 1029: "F_CANCELLK", 1030: "F_DUPFD_CLOEXEC"},
    **{1031: "F_SETPIPE_SZ", 1032: "F_GETPIPE_SZ", 1033: "F_ADD_SEALS", 1034: "F_GET_SEALS"},
}
"""include/uapi/linux/fcntl.h and asm-generic/fcntl.h"""
_FSCONFIG = (
    "FSCONFIG_SET_FLAG FSCONFIG_SET_STRING FSCONFIG_SET_BINARY FSCONFIG_SET_PATH FSCONFIG_SET_PATH_EMPTY "
    "FSCONFIG_SET_FD FSCONFIG_CMD_CREATE FSCONFIG_CMD_RECONFIGURE FSCONFIG_CMD_CREATE_EXCL".split()
)
"""include/uapi/linux/mount.h"""

KINDS: dict[str, Callable[[int], str]] = {
    "int": lambda value: str(signed32(value)),
    "long": lambda value: str(signed64(value)),
    "size": str,
    "hex": hex,
    "fd": _fd,
    "dev": _device,
    "open": open_flags,
    "mode": _mode,
    "resolve": _flags(
        {
            1: "RESOLVE_NO_XDEV",
            2: "RESOLVE_NO_MAGICLINKS",
            4: "RESOLVE_NO_SYMLINKS",
            8: "RESOLVE_BENEATH",
            16: "RESOLVE_IN_ROOT",
            32: "RESOLVE_CACHED",
        }
    ),
    "unlink": _flags({0x200: "AT_REMOVEDIR"}),
    "at": _flags({0x100: "AT_SYMLINK_NOFOLLOW", 0x400: "AT_SYMLINK_FOLLOW", 0x1000: "AT_EMPTY_PATH"}),
    "rename": _flags({1: "RENAME_NOREPLACE", 2: "RENAME_EXCHANGE", 4: "RENAME_WHITEOUT"}),
    "mount": _flags(_MOUNT),
    "umount": _flags({1: "FORCE", 2: "DETACH", 4: "EXPIRE", 8: "NOFOLLOW"}),
    "domain": _enum(_DOMAINS),
    "socket_type": _socket_type,
    "socket_flags": _flags({0o2000000: "SOCK_CLOEXEC", 0o4000: "SOCK_NONBLOCK"}),
    "clone": lambda value: _clone_bits(value & 0xFFFFFF80) if value & ~0xFF or value & 0x80 else "0",
    "prctl": _enum(_PRCTL),
    "ptrace": _enum(_PTRACE),
    "signal": _signal,
    "module": _flags(
        {1: "MODULE_INIT_IGNORE_MODVERSIONS", 2: "MODULE_INIT_IGNORE_VERMAGIC", 4: "MODULE_INIT_COMPRESSED_FILE"}
    ),
    "memfd": _flags({1: "MFD_CLOEXEC", 2: "MFD_ALLOW_SEALING", 4: "MFD_HUGETLB", 8: "MFD_NOEXEC_SEAL", 16: "MFD_EXEC"}),
    "bpf": _enum(dict(enumerate(_BPF))),
    "request": lambda value: f"{value & 0xFFFFFFFF:X}",
    "upper_hex": lambda value: f"{value:X}",
    "fcntl": _enum(_FCNTL),
    "flock": _flags({1: "LOCK_SH", 2: "LOCK_EX", 4: "LOCK_NB", 8: "LOCK_UN"}),
    "access": _flags({1: "X_OK", 2: "W_OK", 4: "R_OK"}),
    "fsconfig": _enum(dict(enumerate(_FSCONFIG))),
    "shutdown": _enum({0: "SHUT_RD", 1: "SHUT_WR", 2: "SHUT_RDWR"}),
    "prot": _flags({1: "PROT_READ", 2: "PROT_WRITE", 4: "PROT_EXEC", 8: "PROT_SEM"}),
    "xattr": _flags({1: "XATTR_CREATE", 2: "XATTR_REPLACE"}),
}
"""How an argument's number is printed, by ``syscalls.Parameter.kind``."""
