"""docs/kernels.md and what is shown after `make test-kernels`, from the results of guests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guests import KERNELS
from guests.places import CHECKOUT

_DOCUMENT = CHECKOUT / "docs/kernels.md"
_HEAD = """# Kernels

Made by `make test-kernels` from what it finds; not written by hand. Each row is a real kernel of Debian in a virtual
machine (`tests/kernels`). Seconds are those of an emulated processor, some twenty times slower than a real one; most of
them go into compiling. The verifier refuses a program of which it processes more than a million instructions; what
stands here is the most of the sets of programs that were tried: those for the default rules, and in a full run those
with all that rules can ask for. The live tests are a selection, and in a full run all of them. A commit is the one that
was tried.

"""
Result = Mapping[str, Any]


def write_document(results: Sequence[Result]) -> None:
    _DOCUMENT.parent.mkdir(exist_ok=True)
    _DOCUMENT.write_text(_HEAD + summary(results) + "\n")


def summary(results: Sequence[Result]) -> str:
    """Both tables, in Markdown."""
    order = [kernel.name for kernel in KERNELS]
    ordered = sorted(results, key=lambda result: order.index(result["kernel"]))
    return f"{_kernels(ordered)}\n\n{_programs(ordered)}"


def _kernels(results: Sequence[Result]) -> str:
    sets = list(dict.fromkeys(name for result in results for name in result["staged"]))
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


def _kernel(result: Result, sets: Sequence[str]) -> list[str]:
    figures = [each for programs in result["programs"].values() for each in programs.values()]
    refused = sum(1 for each in figures if each["refused"])
    loads = "no result" if not figures else f"{refused} refused" if refused else "yes"
    staged = [result["staged"].get(name) or {} for name in sets]
    expected = [rule for each in staged for rule in each.get("expected", [])]
    raised = [rule for each in staged for rule in each.get("expected", []) if rule in each["raised"]]
    live = result["live"]
    counts = ["no result"] * 3 if live["error"] else [str(len(live[key])) for key in ("passed", "failed", "skipped")]
    return [
        result["kernel"],
        result["release"],
        result["version"],
        loads,
        *("–" if each.get("watching") is None else f"{each['watching']:.0f}" for each in staged),
        f"{len(raised)} of {len(expected)}",
        *counts,
    ]


def _programs(results: Sequence[Result]) -> str:
    """Of each program the most that the verifier processes of it, whatever the rules ask for."""
    names = list(
        dict.fromkeys(name for result in results for programs in result["programs"].values() for name in programs)
    )
    head = ["instructions processed by the verifier", *(result["kernel"] for result in results)]
    return _table(head, ([name, *(_most(result, name) for result in results)] for name in names))


def _most(result: Result, name: str) -> str:
    found = [programs[name] for programs in result["programs"].values() if name in programs]
    if any(each["refused"] for each in found):
        return "refused"
    return f"{max(each['processed'] for each in found):,}" if found else "–"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
