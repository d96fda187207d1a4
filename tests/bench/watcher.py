"""A contestant of the bench, to be started in Falco's place: it alerts of opened files by inotify.

The environment says how it misbehaves: BENCH_WATCHER_LINES are printed as they are after each alert, with ``\\n``
between them; with BENCH_WATCHER_DIES it ends by itself at its start of that number, after the first alerts.
"""

import ctypes
import json
import os
import signal
import struct
import sys
from pathlib import Path

IN_OPEN = 0x20
RULES = {"planted": "Bench planted", "single": "Bench single", "flood": "Bench flood"}


def main() -> None:
    if "--version" in sys.argv:
        print("a watcher of files")
        return
    folder = Path(next(word for word in sys.argv if word.endswith("planted.yaml"))).parent
    settings = dict(word.split("=", 1) for word in sys.argv if "=" in word)
    start = _count_starts(folder)
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init()
    below = {libc.inotify_add_watch(queue, bytes(folder / name), IN_OPEN): name for name in RULES}
    signal.signal(signal.SIGINT, lambda *_: _end(settings))
    alerts = 0
    while True:
        for watch, name in _opened(os.read(queue, 1 << 16)):
            file = f"{folder}/{below[watch]}/{name}"
            _print(json.dumps({"rule": RULES[below[watch]], "output_fields": {"fd.name": file}}))
            for line in os.environ.get("BENCH_WATCHER_LINES", "").split("\\n"):
                _print(line)
            alerts += 1
        if alerts and os.environ.get("BENCH_WATCHER_DIES") == str(start):
            print("something is wrong", file=sys.stderr)
            sys.exit(1)


def _print(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def _count_starts(folder: Path) -> int:
    counted = folder / "starts"
    start = int(counted.read_text()) + 1 if counted.exists() else 1
    counted.write_text(str(start))
    return start


def _opened(data: bytes) -> list[tuple[int, str]]:
    """Watches, and names of files below what they watch."""
    events, offset = [], 0
    while offset < len(data):
        watch, _mask, _cookie, length = struct.unpack_from("iIII", data, offset)
        offset += 16 + length
        events.append((watch, data[offset - length : offset].rstrip(b"\0").decode()))
    return [(watch, name) for watch, name in events if name]


def _end(settings: dict[str, str]) -> None:
    """With a summary in words on standard output, as Falco's, and a line of metrics that was cut."""
    counters = {"output_fields": {"scap.n_drops": 7, "scap.n_evts": 12, "falco.outputs_queue_num_drops": 0}}
    line = json.dumps(counters)
    Path(settings["metrics.output_file"]).write_text(f"{line}\n{line[:40]}")
    _print("Events detected: 12\nTriggered rules by rule name:\n   Bench planted: 12\n   Bench flood: 3")
    os.write(1, b'{"rule": "Bench planted", "output_f')  # and no end of the line
    os._exit(0)


main()
