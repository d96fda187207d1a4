"""What the runtimes need of this machine: programs, an image made of busybox, and that nothing stays behind."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self, TypeVar

IMAGE = "docker.io/tiercel-test/tools:1.0"
"""busybox, with a shell as its command."""
PAUSE_IMAGE = "docker.io/tiercel-test/pause:1.0"
"""Sleeps."""
# Seconds until it's an error that something hasn't come about; none are waited out. Emulated machines take longer.
DEADLINE = float(os.environ.get("TIERCEL_TEST_DEADLINE", "60"))
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tiercel/containers"
_FOLDERS = ("/usr/sbin", "/sbin", *(f"{_CACHE}/{folder}" for folder in ("usr/bin", "usr/sbin", "bin")))
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), *_FOLDERS])
_PREFIX = "tiercel-containers-"
_APPLETS = ("sh", "cat", "true", "false", "sleep", "touch", "ls", "id", "chmod", "mkdir", "rm", "nc", "wget")
_RUNTIMES = {"containerd", "containerd-shim-runc-v2", "ctr", "runc", "podman", "conmon"}
_PARENTS = ("/kubepods/", "/default/", "/jobs/", "/libpod_parent/")
_T = TypeVar("_T")


class ContainerError(Exception):
    """A program is missing, or a runtime refuses; the last line of the message says why."""


def binary(name: str, help_: str = "run scripts/setup-containers") -> str:
    """Absolute path of a program, from the PATH or from where ``scripts/setup-containers`` puts it."""
    if found := shutil.which(name, path=_PATH):
        return os.path.abspath(found)
    raise ContainerError(f"no {name}: {help_}")


def environment(**more: str) -> dict[str, str]:
    """For runtimes, which look for helpers on the PATH."""
    return {**os.environ, "PATH": _PATH, **more}


def run(command: Sequence[str], check: bool = True, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Exit status and output, with errors. The output goes to a file: a shim would hold a pipe open."""
    with tempfile.TemporaryFile() as file:
        env = env or environment()
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=env, timeout=DEADLINE, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ContainerError(str(error)) from error
        file.seek(0)
        output = file.read().decode(errors="replace")
    if check and done.returncode:
        raise ContainerError(output.strip() or f"{command[0]} ended with {done.returncode}")
    return done.returncode, output


def until(done: Callable[[], _T], what: str) -> _T:
    """The first result that counts as true."""
    deadline = time.monotonic() + DEADLINE
    while not (result := done()):
        if time.monotonic() > deadline:
            raise ContainerError(f"{what}: not within {DEADLINE:.0f} s")
        time.sleep(0.02)
    return result


def listens(path: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        return True
    return False


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder. When it ends, nothing runs from it or is mounted in it; nor from those of killed runs."""
    if os.geteuid() != 0:
        raise ContainerError("containers need root")
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = left.name.removeprefix(_PREFIX).partition("-")[0]
        with suppress(FileNotFoundError):  # somebody else is at it
            if left.lstat().st_uid == 0 and not Path("/proc", owner).exists():
                _clear(left)
    path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        yield path
    finally:
        _clear(path)


def _clear(path: Path) -> None:
    left = {cgroup for pid in processes_of(path) for cgroup in cgroups_of(pid) if cgroup.startswith(_PARENTS)}
    until(lambda: not _kill(processes_of(path)), f"end of the processes of {path}")
    for mount in reversed(_mounts()):
        if Path(mount[1]).is_relative_to(path):
            run(["umount", "-l", mount[1]])
    for cgroup in left:
        remove_cgroup(cgroup)
        if "/pod" in cgroup:
            remove_cgroup(os.path.dirname(cgroup))
    shutil.rmtree(path)


def _kill(pids: Iterable[int]) -> bool:
    """Whether there are any."""
    some = False
    for pid in pids:
        some = True
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return some


def processes_of(path: Path) -> list[int]:
    """Runtimes and shims have the folder among their arguments, containers have their root in it."""
    found = []
    for process in Path("/proc").glob("[1-9]*"):
        with suppress(OSError):
            if Path(os.readlink(process / "exe")).name in _RUNTIMES:
                text = (process / "cmdline").read_text(errors="replace")
            else:  # other mounts say nothing: they spread to services that have mounts of their own
                mounts = (process / "mountinfo").read_text(errors="replace").splitlines()
                text = "".join(line for line in mounts if line.split()[4] == "/")
            if path.name in text:
                found.append(int(process.name))
    return found


def _mounts() -> list[list[str]]:
    return [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]


def cgroups_of(pid: int) -> set[str]:
    """The paths of a process's cgroups, of version 1 and 2."""
    with suppress(OSError):
        return {line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()}
    return set()


def cgroups(path: str) -> list[Path]:
    """That cgroup in each hierarchy, version 1 and 2, whether it's there or not."""
    return [Path(mount[1] + path) for mount in _mounts() if mount[2] in {"cgroup", "cgroup2"}]


def remove_cgroup(path: str) -> None:
    """With those below it, as far as nothing runs in them."""
    for cgroup in cgroups(path):
        for folder_, _, _ in os.walk(cgroup, topdown=False):
            with suppress(OSError):
                os.rmdir(folder_)


@contextmanager
def cgroups_left_behind(*paths: str) -> Iterator[None]:
    """Removes them afterwards, unless they were there before: runtimes leave the parents of their cgroups."""
    ours = [cgroup for path in paths for cgroup in cgroups(path) if not cgroup.exists()]
    yield
    for cgroup in ours:
        with suppress(OSError):  # somebody else's container is in it by now
            cgroup.rmdir()


def snapshots(path: Path) -> tuple[str, str]:
    """What containerd and podman call their way to put layers together: copies, where overlays can't lie on another."""
    on_overlay = run(["stat", "-f", "-c", "%T", str(path)])[1].strip() == "overlayfs"
    return ("native", "vfs") if on_overlay else ("overlayfs", "overlay")


def layer() -> io.BytesIO:
    """The files of both images, as an archive."""
    files: dict[str, bytes | str] = {
        "bin/busybox": _static_busybox(),
        **{f"bin/{name}": "busybox" for name in _APPLETS},
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
        "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
        "etc/shadow": b"root:*:19000:0:99999:7:::\n",
        "tmp/.keep": b"",
    }
    return io.BytesIO(_tar(files))


def write_images(path: Path) -> None:
    """Writes both images as an archive of the form of ``docker save``."""
    content = layer().getvalue()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    roots = {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(content).hexdigest()]}
    files: dict[str, bytes | str] = {"layer.tar": content}
    manifest = []
    for name, runs in ((IMAGE, {"Cmd": ["/bin/sh"]}), (PAUSE_IMAGE, {"Entrypoint": ["/bin/sleep", "1000000"]})):
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], **runs},
            "rootfs": roots,
        }
        blob = json.dumps(config).encode()
        file = hashlib.sha256(blob).hexdigest() + ".json"
        files[file] = blob
        manifest.append({"Config": file, "RepoTags": [name], "Layers": ["layer.tar"]})
    path.write_bytes(_tar({**files, "manifest.json": json.dumps(manifest).encode()}))


def _static_busybox() -> bytes:
    """The first on the PATH may need libraries, which the images don't have."""
    for directory in _PATH.split(os.pathsep):
        with suppress(OSError):
            program = Path(directory, "busybox").read_bytes()
            if b"/ld-" not in program[:4096]:
                return program
    raise ContainerError("no static busybox: run scripts/setup-containers")


def _tar(files: Mapping[str, bytes | str]) -> bytes:
    """Text is the target of a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755 if name.startswith("bin/") else 0o640 if name == "etc/shadow" else 0o644
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class Runtime:
    """Starts in a folder of its own when it's entered; all is undone when it's left, or can't start."""

    folder: Path

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._cgroups = stack.enter_context(ExitStack())  # goes last: nothing runs in them any more
            self.folder = stack.enter_context(folder())
            self._start(stack)
            self._ends = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.close()

    def _start(self, stack: ExitStack) -> None:
        raise NotImplementedError

    def _configure(self, template: str, file: Path, snapshots: str = "") -> None:
        """The template names FOLDER, RUNC and SNAPSHOTS."""
        text = template.replace("FOLDER", str(self.folder)).replace("RUNC", binary("runc"))
        file.write_text(text.replace("SNAPSHOTS", snapshots))

    @contextmanager
    def _serving(self, command: Sequence[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """A server, in a session of its own: an interrupt from the keyboard is for the tests, which end it then."""
        log = self.folder / f"{Path(command[0]).name}.log"
        with log.open("ab") as file:
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=env, start_new_session=True
            )
        try:
            yield server
        finally:
            server.terminate()
            try:
                server.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
