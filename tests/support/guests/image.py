"""The guests' file system: Debian with what the project and its tests need, and the project's dependencies.

The project itself isn't in it: each guest gets the files of the checkout as they are when it starts. So an image is
made anew only when what it is made of changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from guests.kernels import Architecture
from guests.mirror import find_mirror
from guests.places import CACHE, CHECKOUT, Unavailable, made, make_disk, run, tell

_SUITE = "bookworm"
_PYTHON = "3.11"
_PACKAGES = (
    *("python3", "python3-venv", "python3-bpfcc", "bpftool"),
    *("kmod", "iproute2", "procps", "gcc", "libc6-dev"),
    *("systemd", "systemd-sysv", "dbus", "busybox-static"),
)
_LOCKS = ("requirements/build.lock", "requirements/dev.lock")
_FREE = 3 << 30
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_AARCH64 = (
    r":tiercel-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:%s:F"
)
_INSTALL = """
set -eu
cd /root/tiercel
/usr/bin/python3 -m venv --system-site-packages .venv
pip() { .venv/bin/python -m pip install -q --no-index --find-links /root/wheels --disable-pip-version-check "$@"; }
pip --require-hashes -r requirements/build.lock -r requirements/dev.lock
pip --no-deps --no-build-isolation -e .
.venv/bin/python -c 'import bcc'
find . -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -r {} +
rm -r /root/wheels /var/cache/apt/archives/*.deb
echo guest >/etc/hostname
echo '127.0.0.1 localhost guest' >/etc/hosts
"""


@dataclass(frozen=True, slots=True)
class Image:
    root: Path
    """The file system, which guests don't change."""
    busybox: Path
    """Linked statically, for the guest's architecture."""


def root_image(architecture: Architecture) -> Image:
    """The file system for guests of this architecture. The first time that takes some minutes."""
    recipe = _recipe(architecture)
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    folder = made(
        CACHE / "images" / f"{architecture.name}-{key}", lambda unfinished: _build(architecture, recipe, unfinished)
    )
    return Image(folder / "root.img", folder / "busybox")


def _recipe(architecture: Architecture) -> dict[str, list[str]]:
    """All that decides what is in the image."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    return {
        "suite": [_SUITE],
        "packages": sorted([*_PACKAGES, *architecture.packages]),
        "python": [(CHECKOUT / name).read_text() for name in _LOCKS],
        "project": [json.dumps([project["tool"]["setuptools"], project["project"].get("scripts")])],
        "script": [_INSTALL],
    }


def _build(architecture: Architecture, recipe: dict[str, list[str]], folder: Path) -> None:
    if os.geteuid() != 0:
        raise Unavailable("making the guests' file system takes root")
    tell(f"making the guests' file system for {architecture.name}, once; this takes some minutes")
    root = folder / "root"
    wheels = root / "root/wheels"
    with _emulated(architecture):
        _bootstrap(architecture, recipe["packages"], root)
        wheels.mkdir()
        _download_wheels(architecture, wheels)
        _copy_project(root / "root/tiercel")
        _inside(root, _INSTALL)
    shutil.copy(root / "bin/busybox", folder / "busybox")
    make_disk(root, folder / "root.img", _FREE)
    shutil.rmtree(root)


def _bootstrap(architecture: Architecture, packages: list[str], root: Path) -> None:
    """In two stages even for this machine's architecture, to have dpkg not wait for the disk in the second.

    The mirror is asked from out here, where it can be reached; inside, there may be no network.
    """
    mirror = find_mirror().main
    run(["debootstrap", "--foreign", "--variant=minbase", f"--arch={architecture.name}", _SUITE, root, mirror])
    settings = root / "etc/dpkg/dpkg.cfg.d/harness"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\n")
    _inside(root, "/debootstrap/debootstrap --second-stage")
    (root / "etc/apt/sources.list").write_text(f"deb {mirror} {_SUITE} main\n")
    wanted = ["-q", "--yes", "--no-install-recommends", "install", *packages]
    dirs = {"Dir": root, "Dir::State::status": root / "var/lib/dpkg/status", "APT::Architecture": architecture.name}
    options = [word for name, value in dirs.items() for word in ("-o", f"{name}={value}")]
    options += ["-o", f"APT::Architectures::={architecture.name}", "-o", "APT::Sandbox::User=root"]
    run(["apt-get", *options, "-q", "update"])
    run(["apt-get", *options, "--download-only", *wanted])
    _inside(root, "mount -t proc proc /proc && exec apt-get --no-download " + " ".join(wanted))


def _inside(root: Path, script: str) -> None:
    """In namespaces of its own: what is mounted or left running ends with the script."""
    clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "TMPDIR=/tmp"]
    clean += ["DEBIAN_FRONTEND=noninteractive", "/bin/sh", "-c", script]
    run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "chroot", root, *clean])


def _download_wheels(architecture: Architecture, wheels: Path) -> None:
    platforms = [f"--platform={name}" for name in architecture.wheels]
    target = ["--only-binary=:all:", *platforms, f"--python-version={_PYTHON}", "--implementation=cp"]
    target += ["--abi=cp311", "--abi=abi3", "--abi=none"]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
    locks = [word for name in _LOCKS for word in ("-r", CHECKOUT / name)]
    run([*pip, *target, "--no-deps", "--require-hashes", "-d", wheels, *locks])


def _copy_project(to: Path) -> None:
    """As much as an editable installation looks at."""
    to.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, to / name)
    for name in ("engine", "node_agent", "operator", "cli", "requirements"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(CHECKOUT / name, to / name, symlinks=True, ignore=ignored)


@contextmanager
def _emulated(architecture: Architecture) -> Iterator[None]:
    """Programs of the other architecture run meanwhile, which takes an entry in the kernel's table of formats."""
    if architecture.machine == platform.machine():
        yield
        return
    if not (_BINFMT / "register").exists():
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", _BINFMT])
    known = any(architecture.machine in entry.name for entry in _BINFMT.iterdir())
    ours = _BINFMT / f"tiercel-{architecture.machine}"
    if not known:
        emulator = run(["which", f"qemu-{architecture.machine}-static"]).strip()
        (_BINFMT / "register").write_text(_AARCH64 % emulator)
    try:
        yield
    finally:
        if ours.exists():
            ours.write_text("-1")
