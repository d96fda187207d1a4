"""Where a container's cgroup lies, by what runtimes are told of it (opencontainers/runtime-spec, config-linux.md)."""

from __future__ import annotations


def cgroups_of_spec(cgroups_path: object) -> tuple[str, ...]:
    """The path that ``linux.cgroupsPath`` of an OCI specification stands for; none if it doesn't say it all.

    ``slice:prefix:name`` is the form for systemd.
    """
    if not isinstance(cgroups_path, str):
        return ()
    if cgroups_path.startswith("/"):
        return (cgroups_path.rstrip("/") or "/",)
    match cgroups_path.split(":"):
        case [slice_, prefix, name] if name:
            return (f"{slice_path(slice_)}/{prefix}-{name}.scope" if prefix else f"{slice_path(slice_)}/{name}.scope",)
    return ()


def slice_path(name: str) -> str:
    """The path of a slice of systemd: a hyphen in its name stands for a level of the tree (systemd.slice(5))."""
    levels = name.removesuffix(".slice").split("-")
    if not all(levels):  # "-.slice" is the root
        return ""
    return "".join(f"/{'-'.join(levels[:number])}.slice" for number in range(1, len(levels) + 1))


def cgroups_of_docker(id_: str, parent: str, runtime: str) -> tuple[str, ...]:
    """The paths that Docker and podman use for a container. Which one depends on the driver of cgroups, which they
    don't tell of a container."""
    name, default_slice, default_parent = _DEFAULTS.get(runtime, _DEFAULTS["docker"])
    if parent.endswith(".slice"):
        return (f"{slice_path(parent.rpartition('/')[2])}/{name}-{id_}.scope",)
    if parent:
        root = "/" + parent.strip("/")
        return (f"{root}/{id_}", f"{root}/{name}-{id_}")
    return (
        f"{slice_path(default_slice)}/{name}-{id_}.scope",
        f"{default_parent}/{id_}",
        f"{default_parent}/{name}-{id_}",
    )


_DEFAULTS = {
    "docker": ("docker", "system.slice", "/docker"),
    "podman": ("libpod", "machine.slice", "/libpod_parent"),
}
