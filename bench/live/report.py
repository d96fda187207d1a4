"""The results as Markdown tables and as a picture. Figures are medians [lowest–highest] of the rounds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from bench.live.chart import Bar, grouped_bars
from bench.live.contestants import NOBODY
from bench.live.detection import ATTACKS
from bench.live.loads import LOADS, Load
from bench.live.results import Results
from bench.live.throughput import Sample
from bench.live.watch import Ending

NOTHING = "–"

BUSY = 0.5
"""The load average from which on a machine isn't idle."""


def markdown(results: Results) -> str:
    parts = [_head(results), _throughput(results), _cpu(results), _totals(results), _latencies(results)]
    parts += [_hidings(results), _floods(results), _sizes(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def picture(results: Results) -> str:
    groups = {load.name: _kept_by_contestant(results, load) for load in _loads(results)}
    return grouped_bars("Throughput kept (1 = nobody watches)", groups)


def _head(results: Results) -> str:
    lines = [f"{results.machine}; {results.date}. {results.settings}"]
    lines += [f"- {name}: {version}" for name, version in results.contestants.items()]
    if results.load > BUSY:
        lines.append(f"- note: the machine was not idle at the start: its load was {results.load:.1f}")
    if spoiled := results.throughput.spoiled:
        lines.append(
            f"- note: rounds {', '.join(map(str, spoiled))} are spoiled: others had eBPF programs at system calls"
        )
    for name, count in _passed_over(results).items():
        lines.append(f"- note: {count:,} lines that {name} printed among its alerts weren't any, and were passed over")
    lines += [f"- failed: {problem}" for problem in results.problems]
    if results.missing:
        lines.append(f"- missing, in whole or in part: {'; '.join(results.missing)}")
    return "\n".join(lines)


def _passed_over(results: Results) -> dict[str, int]:
    """By contestant the number of lines that were passed over, if there were any."""
    endings = [
        *((stay.contestant, stay.ending) for stay in results.throughput.stays),
        *((hiding.contestant, hiding.ending) for hiding in results.hidings),
        *((flood.contestant, flood.ending) for flood in results.floods),
    ]
    counts = dict.fromkeys(results.contestants, 0)
    for name, ending in endings:
        counts[name] += ending.passed_over
    return {name: count for name, count in counts.items() if count}


def _throughput(results: Results) -> str:
    rows = []
    for load in _loads(results):
        without = [sample.done.rate for sample in _samples(results, load, NOBODY)]
        rate = _number(statistics.median(without)) if without else NOTHING
        kept = _kept_by_contestant(results, load)
        cells = [_spread(kept[name], "{:.2f}") if name in kept else NOTHING for name in results.contestants]
        rows.append([load.name, load.meaning, rate, *cells])
    return _table("Throughput kept", ["load", "", "rounds a second without", *results.contestants], rows)


def _cpu(results: Results) -> str:
    rows = []
    for load in _loads(results):
        cells = []
        for name in results.contestants:
            samples = _samples(results, load, name)
            if not samples:
                cells.append(NOTHING)
                continue
            cell = _measured([s.cpu * 1e6 / s.done.calls for s in samples], "{:.3f}")
            cell += " s, " + _measured([100 * s.cpu / s.done.seconds for s in samples], "{:.1f}", spread=False) + "%"
            if load.command:
                cell += (
                    ", "
                    + _measured([s.cpu * 1e6 / s.done.rounds for s in samples], "{:.0f}")
                    + f" µs a run of {load.round}"
                )
            cells.append(cell)
        rows.append([load.name, *cells])
    title = "CPU of the contestant: seconds per million system calls of the load, and part of a core meanwhile"
    return _table(title, ["load", *results.contestants], rows)


def _totals(results: Results) -> str:
    columns = [[stay for stay in results.throughput.stays if stay.contestant == name] for name in results.contestants]
    if not any(columns):
        return ""
    idle = [_measured([100 * s.idle for s in stays if s.idle is not None], "{:.2f}") for stays in columns]
    rows = [
        ["CPU with nothing to do, % of a core", *idle],
        [
            "peak memory of a process, MiB",
            *(f"{max(s.memory for s in stays) / 2**20:.0f}" if stays else NOTHING for stays in columns),
        ],
        ["lost in all rounds", *(_lost([stay.ending for stay in stays]) for stays in columns)],
        ["events seen a round", *(_counts([s.ending.seen for s in stays]) for stays in columns)],
        ["calls stopped in the kernel a round", *(_counts([s.ending.stopped for s in stays]) for stays in columns)],
        ["alerts in all rounds", *(str(sum(s.alerts for s in stays)) if stays else NOTHING for stays in columns)],
    ]
    return _table("Beside the loads", ["", *results.contestants], rows)


def _latencies(results: Results) -> str:
    rows = []
    for latency in results.latencies:
        times = sorted(latency.seconds)
        cells = [
            _time(times[min(int(len(times) * part), len(times) - 1)]) if times else NOTHING for part in (0.5, 0.99)
        ]
        last = _time(times[-1]) if times else NOTHING
        rows.append([latency.contestant, f"{len(times)} of {latency.opens}", *cells, last])
    return _table("From the call to the alert", ["", "alerted", "p50", "p99", "longest"], rows)


def _hidings(results: Results) -> str:
    hidings = {(hiding.attack, hiding.contestant): hiding for hiding in results.hidings}
    names = list(dict.fromkeys(hiding.contestant for hiding in results.hidings))
    rows = []
    for _, _, attack in ATTACKS:
        row = [hidings.get((attack, name)) for name in names]
        cells = [f"{h.seen} of {h.reads}; lost: {_lost([h.ending])}" if h else NOTHING for h in row]
        rows.append([attack, *cells])
    return _table("Reads of a planted file that are alerted, beside", ["", *names], rows if names else [])


def _floods(results: Results) -> str:
    rows = [
        [
            flood.contestant,
            f"{flood.done.rate:,.0f} of {flood.done.asked:,}",
            f"{flood.alerts:,} of {flood.done.rounds:,}",
            f"{len(flood.seconds)} of {flood.singles}",
            _time(max(flood.seconds)) if flood.seconds else NOTHING,
            f"{flood.memory / 2**20:.0f}",
            _lost([flood.ending]),
        ]
        for flood in results.floods
    ]
    columns = ["", "opens a second", "of them alerted", "single events alerted", "slowest", "memory, MiB", "lost"]
    return _table("A flood of matching opens", columns, rows)


def _sizes(results: Results) -> str:
    rows = []
    for size in results.sizes:
        kept = [without / watched for without, watched in zip(size.without, size.watched, strict=False)]
        programs = [f"{name} {ns:.0f} × {runs:.2g}" for name, (ns, runs) in sorted(size.programs.items())]
        total = sum(ns * runs for ns, runs in size.programs.values())
        rows.append(
            [
                size.contestant,
                str(size.rules),
                _measured(size.start, "{:.2f}"),
                _measured(size.without, "{:.0f}", spread=False),
                _measured(size.watched, "{:.0f}"),
                _measured(kept, "{:.2f}"),
                f"{total:.0f} ({', '.join(programs)})" if programs else NOTHING,
            ]
        )
    columns = ["", "rules", "start, s", "open+close without, ns", "watched, ns", "kept"]
    return _table("By number of rules", [*columns, "in programs by the kernel's account, ns (ns × runs)"], rows)


def _loads(results: Results) -> list[Load]:
    """The loads that ran."""
    ran = {sample.load for sample in results.throughput.samples}
    return [load for load in LOADS if load.name in ran]


def _samples(results: Results, load: Load, contestant: str) -> list[Sample]:
    return [s for s in results.throughput.samples if s.load == load.name and s.contestant == contestant]


def _kept_by_contestant(results: Results, load: Load) -> dict[str, Bar]:
    """Of what is done in the same round without anybody, or of what is asked for."""
    without = {sample.round: sample.done.rate for sample in _samples(results, load, NOBODY)}
    kept = {}
    for name in results.contestants:
        samples = _samples(results, load, name)
        parts = [s.done.rate / (s.done.asked or without[s.round]) for s in samples if s.round in without]
        if parts:
            kept[name] = (statistics.median(parts), min(parts), max(parts))
    return kept


def _lost(endings: Sequence[Ending]) -> str:
    """What was lost, in all and by cause."""
    if not endings:
        return NOTHING
    if any(ending.lost is None for ending in endings):
        return "not told"
    causes: dict[str, int] = {}
    for ending in endings:
        for cause, count in ending.causes.items():
            causes[cause] = causes.get(cause, 0) + count
    return ", ".join(f"{count:,} ({cause})" for cause, count in causes.items()) or "none"


def _counts(counts: Iterable[int | None]) -> str:
    known = [count for count in counts if count is not None]
    return f"{statistics.median(known):,.0f}" if known else NOTHING


def _measured(values: Sequence[float], form: str, *, spread: bool = True) -> str:
    if not values:
        return NOTHING
    middle = statistics.median(values)
    return _spread((middle, min(values), max(values)), form) if spread else form.format(middle)


def _spread(bar: Bar, form: str) -> str:
    middle, low, high = map(form.format, bar)
    return f"{middle} [{low}–{high}]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.2f} ms"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; "" if there are no rows. Columns are padded, since the text is read in terminals too."""
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([f"## {title}", "", line(columns), line("-" * width for width in widths), *map(line, rows)])
