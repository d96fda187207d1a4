"""What the engine costs: loading the stock rules, generating code, and replaying events on one core.

Needs Falco's stock rule files in `../shared/falco-rules` beside the checkout. Events are made here: a
seeded mix of opens, connects and executions as a busy host has them, in which few match. Times are the
best of several runs, since the machine may be shared.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tiercel_engine.event import Event, Value
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.replay import read_events, read_lines, write_event
from tiercel_engine.rules import load, read_rules

STOCK = Path(__file__).resolve().parents[2] / "shared" / "falco-rules"
SYSCALL_FILES = ("falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml")
EVENTS = 100_000
RUNS = 5

PROCESSES = [
    # name, executable, command line, ancestors, user, container
    (
        "nginx",
        "/usr/sbin/nginx",
        "nginx: worker process",
        ["nginx", "containerd-shim", "systemd"],
        "www-data",
        "3ad7b26ded6d",
    ),
    (
        "postgres",
        "/usr/lib/postgresql/15/bin/postgres",
        "postgres: walwriter",
        ["postgres", "systemd"],
        "postgres",
        "host",
    ),
    (
        "python3",
        "/usr/bin/python3.11",
        "python3 -m gunicorn app:main",
        ["gunicorn", "tini", "systemd"],
        "app",
        "91be33c0f0c2",
    ),
    ("node", "/usr/local/bin/node", "node server.js --port 3000", ["npm", "sh", "systemd"], "node", "c0ffee00beef"),
    ("systemd-journal", "/lib/systemd/systemd-journald", "systemd-journald", ["systemd"], "root", "host"),
    ("containerd", "/usr/bin/containerd", "containerd --log-level info", ["systemd"], "root", "host"),
    ("kubelet", "/usr/bin/kubelet", "kubelet --config=/var/lib/kubelet/config.yaml", ["systemd"], "root", "host"),
]
FILES = [
    "/usr/lib/x86_64-linux-gnu/libc.so.6", "/etc/ld.so.cache", "/var/lib/postgresql/15/main/base/16384/2619",
    "/srv/app/node_modules/express/lib/router/index.js", "/proc/4242/stat", "/sys/fs/cgroup/memory.current",
    "/var/log/nginx/access.log", "/run/user/1000/bus", "/dev/null", "/home/app/.cache/pip/selfcheck.json",
]  # fmt: skip


def process_fields(choose: random.Random) -> dict[str, Value | None]:
    name, path, command, ancestors, user, container = choose.choice(PROCESSES)
    fields: dict[str, Value | None] = {
        "proc.name": name,
        "proc.exe": path.rpartition("/")[2],
        "proc.exepath": path,
        "proc.cmdline": command,
        "proc.args": command.partition(" ")[2],
        "proc.pname": ancestors[0],
        "proc.pcmdline": ancestors[0],
        "proc.pexe": ancestors[0],
        "proc.sname": ancestors[0],
        "proc.cwd": "/",
        "proc.tty": 0,
        "proc.vpid": choose.randrange(2, 30000),
        "proc.duration": choose.randrange(10**6, 10**12),
        "proc.is_exe_from_memfd": False,
        "proc.is_exe_upper_layer": False,
        "proc.is_vpgid_leader": True,
        "proc.aname": ancestors,
        "user.name": user,
        "user.uid": 0 if user == "root" else 1000,
        "user.loginuid": -1,
        "thread.cap_permitted": "CAP_CHOWN CAP_NET_BIND_SERVICE",
        "thread.cap_effective": "CAP_CHOWN",
        "group.name": user,
        "container.id": container,
        "evt.num": choose.randrange(10**9),
    }
    fields |= {f"proc.aname[{number}]": ancestor for number, ancestor in enumerate(ancestors, 1)}
    if container != "host":
        fields |= {"container.image.repository": "shop", "container.privileged": False, "k8s.ns.name": "shop"}
    return fields


def opening(choose: random.Random) -> dict[str, Value | None]:
    name = choose.choice(FILES)
    write = choose.random() < 0.15
    return {
        "evt.type": choose.choice(["openat", "openat", "openat", "open"]),
        "evt.res": "SUCCESS",
        "evt.rawres": 7,
        "evt.is_open_read": not write,
        "evt.is_open_write": write,
        "evt.arg.flags": "O_WRONLY|O_CREAT" if write else "O_RDONLY",
        "evt.arg.name": name,
        "fd.num": 7,
        "fd.name": name,
        "fd.nameraw": name,
        "fd.directory": name.rpartition("/")[0],
        "fd.filename": name.rpartition("/")[2],
        "fd.type": "file",
        "fd.typechar": "f",
    }


def connecting(choose: random.Random) -> dict[str, Value | None]:
    server, client = f"10.0.{choose.randrange(4)}.{choose.randrange(1, 250)}", "10.1.0.7"
    port, source = choose.choice([5432, 443, 53, 6379]), choose.randrange(32768, 60999)
    return {
        "evt.type": choose.choice(["connect", "connect", "accept4"]),
        "evt.res": "SUCCESS",
        "evt.rawres": 0,
        "fd.num": 9,
        "fd.name": f"{client}:{source}->{server}:{port}",
        "fd.type": "ipv4",
        "fd.typechar": "4",
        "fd.l4proto": "tcp",
        "fd.ip": [client, server],
        "fd.port": [source, port],
        "fd.net": [client, server],
        "fd.rnet": server,
        "fd.sip": server,
        "fd.snet": server,
        "fd.sport": port,
        "fd.sockfamily": "ip",
        "fd.connected": True,
        "fd.name_changed": True,
    }


def executing(_choose: random.Random) -> dict[str, Value | None]:
    return {"evt.type": "execve", "evt.res": "SUCCESS", "evt.rawres": 0, "evt.arg.filename": "/usr/bin/env"}


def events(seed: int = 1) -> Iterator[Event]:
    choose = random.Random(seed)
    kinds = choose.choices([opening, connecting, executing], weights=[70, 25, 5], k=EVENTS)
    for number, kind in enumerate(kinds):
        yield Event("syscall", 1_700_000_000_000_000_000 + number * 10_000, process_fields(choose) | kind(choose))


def best(action: Callable[[], object]) -> float:
    """Seconds that the quickest of several runs takes."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    files, problems = read_rules([STOCK / name for name in SYSCALL_FILES])
    if problems:
        print(f"skipped: no stock rules in {STOCK.name}/")
        return
    rules = load(files).rules
    print(f"load {len(rules)} stock rules      {best(lambda: load(files)) * 1000:8.1f} ms")
    types = sorted(Requirements.of(rules).event_types or ())
    print(f"generate code, {len(types)} types  {best(lambda: Matcher(rules).prepare(types)) * 1000:8.1f} ms")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "events.jsonl")
        with path.open("wb") as file:
            file.writelines(map(write_event, events()))
        matcher = Matcher(rules)
        matcher.prepare(types)
        alerts = 0

        def read() -> list[object]:
            with path.open("rb", buffering=1 << 20) as lines:
                return [None for _event in read_events(read_lines(lines), path.name)]

        def replay() -> None:
            nonlocal alerts
            with path.open("rb", buffering=1 << 20) as lines:
                alerts = sum(len(matcher.match(event)) for event in read_events(read_lines(lines), path.name))  # type: ignore[arg-type,misc]

        reading, whole = best(read), best(replay)
        print(f"event size                {path.stat().st_size / EVENTS:8.0f} bytes")
    print(f"read events               {EVENTS / reading:8,.0f} events/s")
    print(f"replay                    {EVENTS / whole:8,.0f} events/s, {alerts} alerts of {EVENTS} events")


if __name__ == "__main__":
    main()
