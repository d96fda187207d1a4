"""`python -m bench.live`: its options, and where its results go."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from bench.live import report
from bench.live.contestants import CannotWatch
from bench.live.detection import LATENCY_OPENS
from bench.live.loads import LOADS
from bench.live.measure import PARTS, RULES, Options, measure
from bench.live.processes import BenchError
from bench.live.results import Results
from bench.live.stage import stage


def read_options() -> tuple[Options, Path]:
    """What to measure, and the folder for the results."""
    names = [*(load.name for load in LOADS), *PARTS]

    def words(text: str) -> list[str]:
        return text.split(",")

    def parts(text: str) -> list[str]:
        for word in words(text):
            if word not in names:
                raise argparse.ArgumentTypeError(f"there is no {word!r}: {', '.join(names)}")
        return words(text)

    parser = argparse.ArgumentParser(prog="bench-live", description=sys.modules["bench.live"].__doc__)
    add = parser.add_argument
    add("--only", type=parts, default=names, metavar="NAME,…", help=f"of {', '.join(names)}")
    add("--rounds", type=int, default=5, help="rounds of the loads (5)")
    add("--seconds", type=float, default=1, help="seconds of a load (1)")
    add("--idle", type=float, default=10, help="seconds of doing nothing in a round (10)")
    add("--flood-seconds", type=int, default=10, help="seconds of the flood (10)")
    add("--rules", type=Path, help=f"Tiercel's rules instead of {RULES} generated ones")
    add("--contestants", type=words, metavar="NAME,…", help="tiercel, falco, sysdig, NAME=PATH of another tiercel")
    add("--out", type=Path, default=Path(__file__).parents[1] / "results", metavar="FOLDER", help="bench/results")
    given = vars(parser.parse_args())
    out: Path = given.pop("out")
    return Options(**given), out


def main() -> int:
    options, out = read_options()
    if os.geteuid() != 0:
        print("skipped: needs root")
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        with stage(LATENCY_OPENS, options.flood_seconds) as ground:
            results, status = measure(options, ground, _tell)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # what was measured is written whatever comes now
    except CannotWatch as reason:
        print(f"skipped: {reason}")
        return 0
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        _tell("")
    return _write(results, out) or status


def _write(results: Results, out: Path) -> int:
    """The files, the figures themselves first: no fault in telling them takes them along. Then the screen. Returns
    the exit status."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "live.json").write_text(results.as_json())
    (out / "live.md").write_text(text := report.markdown(results))
    written = ["live.md", "live.json"]
    if results.throughput.samples:
        (out / "live.svg").write_text(report.picture(results))
        written.append("live.svg")
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    print(f"\n{out}: {', '.join(written)}", file=sys.stderr)
    return 0


def _tell(progress: str) -> None:
    """Shows on standard error what happens; on a terminal in one line, which an empty text clears."""
    with suppress(OSError):
        if sys.stderr.isatty():
            print(f"\r\x1b[K{progress}", end="", file=sys.stderr, flush=True)
        elif progress:
            print(progress, file=sys.stderr, flush=True)


def _stop(number: int, _frame: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
