"""Debian's kernels: the newest of a series, by an apt configuration of our own; the machine's own stays as it is."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from guests.kernels import Kernel
from guests.mirror import Mirror, find_mirror
from guests.places import CACHE, Unavailable, locked, made, make_disk, run, tell

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_ASK_EVERY = 24 * 3600  # seconds
_KEEP = 7 * 24 * 3600  # seconds that an older kernel stays, in case that somebody is running it


@dataclass(frozen=True, slots=True)
class KernelFiles:
    """A kernel, unpacked."""

    release: str
    """As ``uname -r`` tells it."""
    image: Path
    tree: Path
    """A folder with ``lib/modules/<release>``."""
    modules: Path
    """The same modules as a file system."""


def fetch_kernel(kernel: Kernel) -> KernelFiles:
    """The newest kernel of the series; one that is here already, if there is no newer one to be had."""
    folder = CACHE / "linux" / kernel.name
    try:
        release = _newest(kernel)
        path = made(folder / release, lambda unfinished: _unpack(kernel, release, unfinished))
    except Unavailable as error:
        kept = [image.parent for image in folder.glob("*/vmlinuz") if image.parent.suffix != ".unfinished"]
        if not kept:
            raise
        path = max(kept, key=lambda path: _numbers(path.name))
        tell(f"{kernel.name}: {path.name}, as before ({error})")
    _forget_older(path)
    return KernelFiles(path.name, path / "vmlinuz", path / "tree", path / "modules.img")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _newest(kernel: Kernel) -> str:
    """Its release. Packages are named by it: linux-image-6.1.0-50-cloud-amd64."""
    found = _apt(kernel, "apt-cache", "search", "--names-only", _pattern(kernel))
    names = [line.split()[0] for line in found.splitlines()]
    if not names:
        raise Unavailable(f"{kernel.suite} has no kernel {kernel.series or 'for clouds'}")
    return max(names, key=_numbers).removeprefix("linux-image-")


def _pattern(kernel: Kernel) -> str:
    series = re.escape(kernel.series) if kernel.series else r"[0-9]+\.[0-9]+"
    return rf"^linux-image-{series}\.[0-9].*-cloud-{kernel.architecture.name}$"


def _unpack(kernel: Kernel, release: str, folder: Path) -> None:
    """Newer suites split the kernel's package, and what is left of it is empty."""
    tell(f"downloading Linux {release}")
    parts = [f"linux-{part}-{release}" for part in ("image", "base", "binary", "modules")]
    known = set(_apt(kernel, "apt-cache", "pkgnames", "linux-").split())
    downloads = folder / "downloads"
    downloads.mkdir()
    _apt(kernel, "apt-get", "download", *(part for part in parts if part in known), cwd=downloads)
    unpacked = folder / "unpacked"
    for package in downloads.glob("*.deb"):
        run(["dpkg-deb", "-x", package, unpacked])
    images = [*unpacked.glob("boot/vmlinuz-*"), *unpacked.glob(f"usr/lib/modules/{release}/vmlinuz")]
    trees = [path for path in (unpacked / "usr/lib/modules", unpacked / "lib/modules") if path.is_dir()]
    if not images or not trees:
        raise Unavailable(f"the packages of {release} don't have what was expected of them")
    images[0].rename(folder / "vmlinuz")
    (folder / "tree/lib").mkdir(parents=True)
    trees[0].rename(folder / "tree/lib/modules")
    run(["depmod", "-b", folder / "tree", release])
    make_disk(folder / "tree/lib/modules", folder / "modules.img")
    shutil.rmtree(downloads)
    shutil.rmtree(unpacked)


def _forget_older(newest: Path) -> None:
    newest.touch()
    with locked(newest):
        for path in newest.parent.iterdir():
            if path.is_dir() and path != newest and path.stat().st_mtime < time.time() - _KEEP:
                shutil.rmtree(path, ignore_errors=True)


# apt


def _apt(kernel: Kernel, program: str, *arguments: str, cwd: Path | None = None) -> str:
    """Calls one of apt's programs with the suite of the kernel as its only source."""
    folder = CACHE / "apt" / f"{kernel.suite}-{kernel.architecture.name}"
    options = _options(kernel, folder)
    stamp = folder / "asked"
    with locked(folder):
        if not stamp.exists() or stamp.stat().st_mtime < time.time() - _ASK_EVERY:
            _write_sources(kernel, folder, find_mirror())
            try:
                run(["apt-get", "-q", *options, "-o", "APT::Update::Error-Mode=any", "update"])
                stamp.touch()
            except Unavailable as error:
                tell(f"asking for {kernel.suite}: {error}")
        if cwd is not None:
            options += ["-o", f"Dir::Cache::archives={cwd}"]
            arguments = ("--yes", *arguments)
            return run(["env", "-C", cwd, program, "-q", *options, *arguments])
        return run([program, *options, *arguments])


def _options(kernel: Kernel, folder: Path) -> list[str]:
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": kernel.architecture.name,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    return [
        *(word for name, value in settings.items() for word in ("-o", f"{name}={value}")),
        "-o",
        f"APT::Architectures::={kernel.architecture.name}",
    ]


def _write_sources(kernel: Kernel, folder: Path, mirror: Mirror) -> None:
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text("\n".join(_lines(kernel, mirror)) + "\n")


def _lines(kernel: Kernel, mirror: Mirror) -> Iterator[str]:
    if not _KEYRING.exists():
        raise Unavailable(f"no {_KEYRING}: install debian-archive-keyring")
    given = f"deb [arch={kernel.architecture.name} signed-by={_KEYRING}]"
    yield f"{given} {mirror.main} {kernel.suite} main"
    if mirror.security and kernel.suite != "sid":
        yield f"{given} {mirror.security} {kernel.suite}-security main"
