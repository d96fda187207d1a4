"""One boot of one kernel: qemu, what it is given, and what comes back."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from guests.checkout import write_disk
from guests.image import root_image
from guests.initramfs import write_initramfs
from guests.kernels import Kernel
from guests.packages import fetch_kernel
from guests.places import tail, tool

_CONSOLE_LINES = 80
_SCRATCH = "/var/tmp"  # on a disk: what guests write lies there
_BOOT = 300.0  # seconds that a guest may take beside its steps, on a machine that is busy
# The emulator may run an instruction that another processor has just patched out of the kernel: about one boot in a
# hundred panics in its first seconds, at an int3 that is no longer there. A kernel that cannot boot does so each time.
_BOOTS = 3


class GuestError(Exception):
    """A guest that ended too early, or not at all; with the end of its console, escaped. ``visit`` is what it did."""

    def __init__(self, message: str, visit: Visit) -> None:
        super().__init__(message)
        self.visit = visit


@dataclass(frozen=True, slots=True)
class Step:
    """A script for bash, which runs in the guest's checkout (/root/tiercel), and files that are wanted afterwards."""

    name: str
    script: str
    deadline: float = 300.0
    """Seconds after which it is killed."""
    files: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of a step. The output is bytes as they came: ``text`` for its escaped end."""

    status: int | None
    """Negative for a signal, None when the step was killed at its deadline."""
    seconds: float
    output: bytes
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Those of the files that were wanted which there were."""

    def text(self, lines: int = 40) -> str:
        return tail(self.output.decode(errors="replace"), lines)


@dataclass(frozen=True, slots=True)
class Visit:
    """What a guest did: its steps by their names."""

    release: str
    """The kernel's, as it told itself."""
    steps: Mapping[str, StepResult]
    seconds: float
    """From the start of qemu to its end."""


def run_in_guest(
    kernel: Kernel,
    steps: Sequence[Step],
    *,
    files: Mapping[str, bytes] = {},
    systemd: bool = False,
    counting: bool = False,
    processors: int = 2,
    memory: int = 2500,
) -> Visit:
    """Boots the kernel, runs the steps one after the other, and ends.

    ``files`` lie in /root/guest. With ``systemd`` that is the first process, else a script. With ``counting`` there is
    one processor, whose clock goes on by a nanosecond an instruction: times are numbers of instructions. ``memory`` is
    in MiB. Raises Unavailable where there can be no guests, and GuestError.
    """
    program, *machine = kernel.architecture.qemu
    # Nobody else would end it if this process were killed.
    command = [tool("setpriv"), "--pdeathsig", "KILL", tool(program), *machine, "-m", str(memory)]
    if counting:
        command += ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-smp", "1"]
    else:
        command += ["-accel", "tcg,thread=multi", "-smp", str(processors)]
    words = [f"console={kernel.architecture.console}", "quiet", "panic=-1", "sysrq_always_enabled"]
    if systemd:
        words.append("guest.init=systemd")
    with tempfile.TemporaryDirectory(prefix="tiercel-guest.", dir=_SCRATCH) as name:
        folder = Path(name)
        files_of_kernel, image = fetch_kernel(kernel), root_image(kernel.architecture)
        write_initramfs(folder / "initramfs", files_of_kernel, image)
        write_disk(folder / "work.tar", [asdict(step) for step in steps], files)
        command += ["-kernel", str(files_of_kernel.image), "-initrd", str(folder / "initramfs")]
        command += ["-append", " ".join(words)]
        disks = [
            f"file={image.root},snapshot=on,cache=unsafe",
            f"file={folder / 'work.tar'},readonly=on",
            f"file={files_of_kernel.modules},readonly=on",
        ]
        for disk in disks:
            command += ["-drive", f"{disk},format=raw,if=virtio"]
        command += ["-display", "none", "-monitor", "none", "-no-reboot", "-nic", "none"]
        command += ["-serial", f"file:{folder / 'console'}", "-device", "virtio-serial-pci"]
        command += ["-chardev", f"file,id=results,path={folder / 'results'}"]
        command += ["-device", "virtserialport,chardev=results,name=results"]
        deadline = _BOOT + sum(step.deadline for step in steps)
        return _read(folder, kernel, boot(command, folder, deadline))


def boot(command: Sequence[str], folder: Path, deadline: float) -> float:
    """Runs qemu, again where the guest panicked before its first word. The answer is the last run's seconds."""
    for _ in range(_BOOTS):
        began = time.monotonic()
        ended = _run_qemu(command, folder, deadline)
        if _told(folder / "results") or not ended:
            break
    return time.monotonic() - began


def _run_qemu(command: Sequence[str], folder: Path, deadline: float) -> bool:
    """Until it ends by itself, which is the answer; the deadline only guards against a guest that hangs."""
    with (folder / "qemu.log").open("wb") as log:
        environment = {**os.environ, "TMPDIR": str(folder)}
        qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        try:
            qemu.wait(deadline)
            return True
        except subprocess.TimeoutExpired:
            return False
        finally:
            qemu.kill()
            qemu.wait()


def _read(folder: Path, kernel: Kernel, seconds: float) -> Visit:
    release, begun, so_far, ended = "", "boot", "", False
    steps: dict[str, StepResult] = {}
    for told in _told(folder / "results"):
        release = told.get("release", release)
        if "begun" in told:
            begun, so_far = told["begun"], ""
        if "so_far" in told:
            so_far = base64.b64decode(told["so_far"]).decode(errors="replace")
        ended = told.get("end", ended)
        if "step" in told:
            files = {name: base64.b64decode(data) for name, data in told["files"].items()}
            output = base64.b64decode(told["output"])
            steps[told["step"]] = StepResult(told["status"], told["seconds"], output, files)
    visit = Visit(release, steps, seconds)
    if not ended:
        console, log = (_text(folder / name) for name in ("console", "qemu.log"))
        raise GuestError(
            f"{kernel.name}: the guest ended during {begun} after {seconds:.0f} s; the end of its console:\n"
            + tail(log + console, _CONSOLE_LINES)
            + (f"\nThe step has told:\n{tail(so_far, _CONSOLE_LINES)}" if so_far else ""),
            visit,
        )
    return visit


def _told(path: Path) -> list[dict[str, Any]]:
    """Whole lines only: a guest may end while it writes one."""
    return [json.loads(line) for line in _text(path).split("\n")[:-1]]


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace") if path.exists() else ""
