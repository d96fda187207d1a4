"""The files that a process of the agent needs for itself: its libraries, and what resolver and TLS read."""

from __future__ import annotations

import mimetypes
import os
import sys
import sysconfig
import zoneinfo
from pathlib import Path

import tiercel_agent
import tiercel_engine

_SYSTEM = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services"),
    *("/etc/protocols", "/etc/ssl", "/etc/ca-certificates", "/etc/pki", "/etc/localtime", "/etc/ld.so.cache"),
    *("/etc/crypto-policies", "/dev/null", "/dev/urandom", "/usr/lib", "/usr/share", "/lib", "/lib64"),
)


def own_files() -> frozenset[str]:
    """Files, and folders with all that is in them. None of them has anything of the node's or of a tenant's."""
    paths = sysconfig.get_paths()
    known = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    known |= {path for path in sys.path if Path(path).is_absolute()}
    known |= {str(Path(folder).parent) for package in (tiercel_agent, tiercel_engine) for folder in package.__path__}
    known |= {sys.executable, *map(str, zoneinfo.TZPATH), *map(str, mimetypes.knownfiles), *_SYSTEM}
    known |= {os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)}
    return frozenset(os.path.realpath(path) for path in known) - {"/"}
