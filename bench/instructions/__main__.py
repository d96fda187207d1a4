"""`python -m bench.instructions`: boots the kernels and prints the table."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench.instructions.loads import LOADS
from guests import KERNELS, GuestError, Step, Unavailable, named, run_in_guest

_CHOSEN = ("6.1", "6.12")
_STEP = Step("measure", "/root/tiercel/.venv/bin/python -m bench.instructions.inside", deadline=3000)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench-instructions", description=sys.modules["bench.instructions"].__doc__)
    known = ", ".join(kernel.name for kernel in KERNELS)
    parser.add_argument("kernels", nargs="*", default=_CHOSEN, help=f"of {known} ({', '.join(_CHOSEN)})")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results", metavar="FOLDER")
    given = parser.parse_args()
    results = {}
    try:
        for kernel in named(given.kernels):
            visit = run_in_guest(kernel, [_STEP], counting=True)
            step = visit.steps["measure"]
            if step.status != 0:
                raise GuestError(f"kernel {visit.release}: {step.text()}", visit)
            results[visit.release] = json.loads(step.output.decode().splitlines()[-1])
    except Unavailable as reason:
        print(f"skipped: {reason}")
        return 0
    except (GuestError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    text = table(results)
    print(text, end="")
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "instructions.md").write_text(text)
    (given.out / "instructions.json").write_text(json.dumps(results, indent=1))
    return 0


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """By load and kernel: instructions a round alone, watched, and the difference."""
    lines = ["| |" + "".join(f" {release} | |" for release in results)]
    lines += ["|---|" + "---|---|" * len(results)]
    for load in LOADS:
        cells = ""
        for measured in results.values():
            alone, watched = measured["alone"][load.name], measured["watched"][load.name]
            cells += f" {alone:,.0f} → {watched:,.0f} | +{watched - alone:,.0f} |"
        lines.append(f"| {load.meaning} |{cells}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
