"""docs/kernels.md and what is shown after `make test-kernels`, from what was found on each kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from guests.places import CHECKOUT

from guest_support.results import KernelResult

DOCUMENT = CHECKOUT / "docs/kernels.md"
EVASIONS = CHECKOUT / "docs/evasions.md"
_HEAD = """# Kernels

Made by `make test-kernels` from what it finds; not written by hand. Each row is a real kernel of Debian in a virtual
machine (`tests/kernels`) and all that is tried there: the programs for the default rules and for everything that rules
can ask for, attacks under three sets of rules, and all live tests (`tests/live`). The commit is the one that was tried.
A live test is skipped where a kernel lacks what it is about, such as 32-bit calls. Rows of commit dcd6d25 are of a
shorter run: programs and attacks for the default rules, and a selection of the live tests.

Seconds are those of an emulated processor, some twenty times slower than a real one; most of them go into compiling.
The verifier refuses a program of which it processes more than a million instructions. What stands here is the most that
it processed of each program.

"""


_EVASIONS_HEAD = """# Evasions

Made by `make test-evasions`; not written by hand. What programs do to hide what they do, and whether it is seen all the
same: each technique is a small program of `tests/evasions`, run against `tiercel detect` on real kernels.

Kernels from 5.15 on let programs be at their own hooks, where they decide about files, names and connections: at those
of the LSM framework, if `bpf` is among the active modules, or at the return of the functions that call them (fexit).
There nothing can be exchanged. Other kernels are watched when a call returns; what a second thread or a magic link of
/proc has hidden by then isn't seen ("no").

"""


def write_document(results: Sequence[KernelResult]) -> None:
    DOCUMENT.write_text(document(results))
    EVASIONS.write_text(evasions_page(results))


def evasions_page(results: Sequence[KernelResult]) -> str:
    """The page on techniques, of the kernels on which they were tried, in Markdown."""
    tried = [result for result in results if result.evasions]
    names = list(dict.fromkeys(name for result in tried for name in result.evasions))
    head = ["technique", *(result.kernel for result in tried)]
    commits = ["*commit*", *(result.evasions_commit for result in tried)]
    hooks = ["*hooks*", *(result.hooks or "none" for result in tried)]
    rows = ([name, *(result.evasions.get(name, "–") for result in tried)] for name in names)
    return f"{_EVASIONS_HEAD}{_table(head, [commits, hooks, *rows])}\n"


def document(results: Sequence[KernelResult]) -> str:
    """The page, in Markdown."""
    return f"{_HEAD}{tables(results)}\n"


def tables(results: Sequence[KernelResult]) -> str:
    """Kernels with what was found on them, and programs with what the verifier processed of them, in Markdown."""
    return f"{_kernels(results)}\n\n{_programs(results)}"


def _kernels(results: Sequence[KernelResult]) -> str:
    sets = list(dict.fromkeys(name for result in results for name in result.watching))
    head = [
        "kernel",
        "release",
        "commit",
        "programs load",
        *(f"watching, s: {name} rules" for name in sets),
        "attacks alerted",
    ]
    head += ["live tests passed", "failed", "skipped"]
    return _table(head, (_kernel(result, sets) for result in results))


def _kernel(result: KernelResult, sets: Sequence[str]) -> list[str]:
    refused = [processed for processed in result.processed.values() if processed is None]
    loads = "no result" if not result.processed else f"{len(refused)} refused" if refused else "yes"
    watching = [result.watching.get(name) for name in sets]
    live = result.live
    return [
        result.kernel,
        result.release,
        result.commit,
        loads,
        *("–" if seconds is None else f"{seconds:.0f}" for seconds in watching),
        f"{result.alerted} of {result.attacks}",
        *(map(str, (live.passed, live.failed, live.skipped)) if live else ["no result"] * 3),
    ]


def _programs(results: Sequence[KernelResult]) -> str:
    names = list(dict.fromkeys(name for result in results for name in result.processed))
    head = ["instructions processed by the verifier", *(result.kernel for result in results)]
    return _table(head, ([name, *(_processed(result, name) for result in results)] for name in names))


def _processed(result: KernelResult, program: str) -> str:
    if program not in result.processed:
        return "–"
    processed = result.processed[program]
    return "refused" if processed is None else f"{processed:,}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
