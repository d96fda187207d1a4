"""The first file system of a guest: busybox, the drivers of its disks, and a script that changes to the real one."""

from __future__ import annotations

import gzip
import lzma
import subprocess
import tempfile
from pathlib import Path

from guests.image import Image
from guests.packages import KernelFiles
from guests.places import Unavailable, run, tool

_DRIVERS = ("virtio_pci", "virtio_blk", "virtio_console", "ext4")
_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do
    [ -e "$module" ] && insmod "$module"
done
until [ -b /dev/vdc ]; do sleep 0.1; done
mount -t ext4 /dev/vda /root || exec poweroff -f
tar -x -f /dev/vdb -C /root/root
mkdir -p /root/lib/modules
mount -t ext4 -o ro /dev/vdc /root/lib/modules
mount --move /dev /root/dev
umount /sys /proc
exec switch_root /root /root/tiercel/tests/support/guests/inside/init
"""


def write_initramfs(path: Path, kernel: KernelFiles, image: Image) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("bin", "proc", "sys", "dev", "root", "modules"):
            (folder / part).mkdir()
        (folder / "bin/busybox").write_bytes(image.busybox.read_bytes())
        (folder / "bin/busybox").chmod(0o755)
        for applet in ("sh", "mount", "umount", "insmod", "sleep", "tar", "mkdir", "switch_root", "poweroff"):
            (folder / "bin" / applet).symlink_to("busybox")
        (folder / "init").write_text(_INIT)
        (folder / "init").chmod(0o755)
        for number, module in enumerate(_modules(kernel)):
            (folder / f"modules/{number:02}-{module.name.partition('.')[0]}.ko").write_bytes(_content(module))
        names = "\n".join(str(each.relative_to(folder)) for each in sorted(folder.rglob("*")))
        packed = subprocess.run(
            [tool("cpio"), "--quiet", "-o", "-H", "newc", "-R", "0:0"],
            input=names.encode(),
            cwd=folder,
            capture_output=True,
            check=True,
        )
    path.write_bytes(gzip.compress(packed.stdout, 1))


def _modules(kernel: KernelFiles) -> list[Path]:
    """Those that aren't part of the kernel itself, each after the ones that it needs."""
    found: dict[Path, None] = {}
    for driver in _DRIVERS:
        for line in run(["modprobe", "-d", kernel.tree, "-S", kernel.release, "--show-depends", driver]).splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "insmod":
                found[Path(rest.split()[0])] = None
    return list(found)


def _content(module: Path) -> bytes:
    data = module.read_bytes()
    if module.suffix == ".ko":
        return data
    if module.suffix == ".xz":
        return lzma.decompress(data)
    raise Unavailable(f"modules are packed in a way that isn't known here: {module.name}")
