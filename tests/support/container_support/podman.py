"""podman, with containers and images of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from container_support.machine import (
    IMAGE,
    Runtime,
    binary,
    cgroups_left_behind,
    environment,
    listens,
    run,
    snapshots,
    until,
    write_images,
)

_PODMAN_CONFIG = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]  # raising them takes CAP_SYS_RESOURCE too
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "RUNC"
tmp_dir = "FOLDER/tmp"
volume_path = "FOLDER/volumes"
[network]
network_config_dir = "FOLDER/networks"
"""


class Podman(Runtime):
    """Containers are named by their names."""

    def _start(self, stack: ExitStack) -> None:
        program = binary("podman", "install the package")
        config, images = self.folder / "containers.conf", self.folder / "images.tar"
        self._configure(_PODMAN_CONFIG, config)
        self._environment = environment(CONTAINERS_CONF=str(config))
        places = ["--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run"]
        self._podman = [program, *places, "--storage-driver", snapshots(self.folder)[1]]
        write_images(images)
        self._cgroups.enter_context(cgroups_left_behind("/libpod_parent/conmon", "/libpod_parent"))
        stack.callback(self._call, "rm", "--all", "--force", "--time", "0")
        self._call("load", "--input", str(images))

    def _call(self, *arguments: str, check: bool = True) -> tuple[int, str]:
        return run([*self._podman, *arguments], check, self._environment)

    def run(
        self, name: str, command: Sequence[str], *, detached: bool = False, options: Sequence[str] = ()
    ) -> tuple[int, str]:
        """Runs a container; exit status and output. Of a detached one, which runs on, the output is its id."""
        how = "--detach" if detached else "--rm"
        return self._call("run", how, "--name", name, *options, IMAGE, *command, check=detached)

    def pid(self, name: str) -> int:
        """Of the first process of a container, in the host's namespace."""
        return int(self._call("inspect", "--format", "{{.State.Pid}}", name)[1])

    def remove(self, name: str) -> None:
        self._call("rm", "--force", "--time", "0", name)

    @contextmanager
    def service(self) -> Iterator[Path]:
        """The socket of podman's API, as long as the block runs."""
        path = self.folder / "podman.sock"
        command = [*self._podman, "system", "service", "--time=0", f"unix://{path}"]
        with self._serving(command, self._environment):
            until(lambda: listens(path), "an answer of podman's service")
            yield path
        path.unlink(missing_ok=True)
