"""What the filter drops matches no rule: the learner with a model of the kernel's half, on random rules and calls."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from struct import Struct
from types import SimpleNamespace
from typing import Any

import pytest
from evaluation_help import atom, operand, rule
from hypothesis import given, settings
from hypothesis import strategies as st

from tiercel_agent.context.paths import clean
from tiercel_agent.events import render
from tiercel_agent.events.descriptor import OpenFile
from tiercel_agent.events.processes import Image
from tiercel_agent.events.syscalls import BY_NAME, CHANGES_PROCESS, SYSCALLS, keyed, native_numbers, plans
from tiercel_agent.events.wire import LINEAGE_ENDS, FileFacts, Section
from tiercel_agent.filter import learner as learning
from tiercel_agent.filter.determined import determined_by
from tiercel_agent.filter.learner import Learner, Maps
from tiercel_engine.condition import And, Node, Not, Or
from tiercel_engine.evaluation.matcher import Matcher
from tiercel_engine.event import Event

MACHINE = "x86_64"
DROP, LOOK = 1, 2
ANY, NONE, UNKNOWN = 0xFFFFFFFF, 1, 0
KINDS = {8: ("file", "f"), 4: ("directory", "d"), 1: ("pipe", "p")}

# A model of bpf/filter.c


class Table(dict[bytes, bytes]):
    """A map of the kernel's."""

    def update(self, key: bytes, value: bytes, *, only_existing: bool = False) -> None:  # type: ignore[override]
        if not only_existing or key in self:
            self[key] = value

    def find(self, key: bytes, _size: int) -> bytes | None:
        return self.get(key)

    def delete(self, key: bytes) -> None:
        self.pop(key, None)


@dataclass(frozen=True)
class Process:
    pid: int
    fields: dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One call: ``text`` is the path passed, ``real`` that of the file that was opened, ``rest`` what no key holds."""

    name: str
    process: Process
    result: int
    numbers: tuple[int, int] = (0, 0)
    folder: str = "/"
    text: str = "/a"
    real: str = "/a"
    kind: int = 8
    rest: dict[str, Any] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        return self.name == "openat"


class Kernel:
    """The maps, and the look at a call as filter() of bpf/filter.c takes it."""

    def __init__(self) -> None:
        self.maps = Maps(*(Table() for _ in Maps._fields))  # type: ignore[arg-type]

    def look(self, call: Call) -> bytes | None:
        """What the record tells of the look; None if the call is dropped."""
        generation = int.from_bytes(self.maps.generation.get(bytes(4), bytes(4)), "little")
        number = native_numbers(BY_NAME[call.name], MACHINE)[0]
        args = [call.numbers[0], call.numbers[1], 0]
        known = self.maps.process_classes.get(call.process.pid.to_bytes(4, "little"))
        process = 0
        if known:
            start, cred, cgroup, _, of, number_of_class, confirmed, _ = Struct("=4Q4I").unpack(known)
            if confirmed and of == generation and (start, cred, cgroup) == (call.process.pid, 7, 1):
                process = number_of_class

        def key(given: int, real: int) -> bytes:
            clamped = min(call.result, 16)
            return Struct("=5Ii3I").pack(generation, process, given, real, number, clamped, *args)

        verdict, given, real = 0, ANY, ANY
        if process:
            verdict = self._verdict(key(ANY, ANY))
            if verdict == LOOK:
                given = self._class(self._passed(call), generation)
                real = self._real(call, generation)
                if call.result >= 0:
                    args[2] = call.kind
                verdict = self._verdict(key(given, real)) if given and real else 0
            if verdict == DROP:
                return None
        return key(given, real) + Struct("=I3Q").pack(verdict, call.process.pid, 7, 0 if process else 1)

    def _verdict(self, key: bytes) -> int:
        return int.from_bytes(self.maps.verdicts.get(key, b""), "little")

    def _class(self, subject: bytes, generation: int) -> int:
        value = self.maps.subjects.get(subject.ljust(128, b"\0"), bytes(8))
        return int.from_bytes(value[4:], "little") if int.from_bytes(value[:4], "little") == generation else UNKNOWN

    def _passed(self, call: Call) -> bytes:
        return (
            call.text.encode() if call.text[0] == "/" else b"\3" + _reversed(call.folder) + b"\0" + call.text.encode()
        )

    def _real(self, call: Call, generation: int) -> int:
        if call.result in (-errno.EACCES, -errno.EPERM):
            return UNKNOWN
        return NONE if call.result < 0 else self._class(b"\2" + _reversed(call.real), generation)


def _reversed(path: str) -> bytes:
    return b"".join(part.encode() + b"\0" for part in path.split("/")[::-1] if part)


# What user space makes of a call


class Seen(Event):
    """An event with the little of an occurrence that the learner asks for."""

    def __init__(self, call: Call, facts: bytes, flags: int = 0) -> None:
        kind = BY_NAME[call.name]
        fields = {**call.process.fields, **call.rest, "evt.type": call.name, "evt.rawres": call.result}
        fields |= {"evt.res": render.result_name(call.result), "evt.failed": call.result < 0}
        for parameter, number in zip(keyed(kind), call.numbers, strict=False):
            if parameter.kind not in ("uid", "gid"):
                fields[f"evt.arg.{parameter.name}"] = render.KINDS[parameter.kind](number)
        sections, opened, given, raw = {Section.FILTER: (0, facts)}, None, None, None
        if call.is_open:
            raw, given = call.text, clean(call.text if call.text[0] == "/" else f"{call.folder}/{call.text}")
            sections |= {Section.PATH_0: (0, raw.encode()), Section.BASE_0: (0, call.folder.encode())}
            mode = call.numbers[0] & 3
            fields |= dict.fromkeys(["fd.name", "fs.path.name", "evt.abspath", "evt.arg.name"], given)
            fields |= {"fd.nameraw": raw, "fs.path.nameraw": raw, "fd.num": call.result, "fd.typechar": "f"}
            fields |= {"fd.directory": given.rpartition("/")[0] or "/", "fd.filename": given.rpartition("/")[2]}
            fields |= {"evt.is_open_read": mode != 1, "evt.is_open_write": mode != 0}
            real = call.real if call.result >= 0 or call.result == -errno.EACCES else None
            if real not in (None, given):
                fields |= dict.fromkeys(["fd.realname", "fs.path.realname"], real)
            if call.result >= 0:
                fields |= dict(zip(("fd.type", "fd.typechar"), KINDS[call.kind], strict=True))
                facts_of_file = FileFacts(0, 0, 0, 0, 0, 0, call.kind << 12, 0, 1, 0, 0)
                opened = OpenFile(call.result, facts_of_file, call.real, call.real, *KINDS[call.kind])
        super().__init__("syscall", 0, fields)
        self.occurrence = SimpleNamespace(
            sections=sections,
            call=kind,
            process=SimpleNamespace(pid=call.process.pid),
            header=SimpleNamespace(result=call.result, flags=flags, cgroup=1),
            world=SimpleNamespace(knows_cgroup=lambda *_: True),
            names=SimpleNamespace(fd=SimpleNamespace(given=given, raw=raw)),
            descriptor=opened,
            image=Image(("program",), None, "", None),
            ancestors=[],
            ancestor_image=lambda _index: None,
        )


# Random rules and calls

TEXTS = st.sampled_from(["/a", "/a/b", "/s", "a", "b", "/b/a", "x"])
NAMES = "fd.name fs.path.name evt.arg.name evt.abspath fd.nameraw fd.directory fd.filename fs.path.nameraw".split()
PROCESS = ["proc.name", "proc.pname", "proc.exepath"]
UNDETERMINED = ["user.name", "evt.arg.uid", "fd.realname", "evt.arg.fd"]
WORDS = {
    "evt.type": ["openat", "fchmod", "fchownat"],
    "evt.res": ["SUCCESS", "ENOENT", "EACCES"],
    "evt.arg.flags": ["O_RDONLY", "O_WRONLY|O_CREAT", "O_RDWR"],
    "evt.arg.mode": ["S_ISUID", "0", "S_IXUSR"],
    "fd.type": ["file", "directory", "pipe"],
    "fd.typechar": ["f", "d", "p"],
}
NUMBERS = {"evt.rawres": [-13, -2, 0, 3, 14, 15, 16, 17, 18], "fd.num": [-2, 3, 15, 16, 17], "user.uid": [0, 1, 2]}
FLAGS = ["evt.is_open_read", "evt.is_open_write", "evt.failed"]
NUMBER_OPERATORS = ["=", "!=", "<", "<=", ">", ">="]


@st.composite
def atoms(draw: st.DrawFn) -> Node:
    match draw(st.integers(0, 7)):
        case 0:
            key = draw(st.sampled_from([*NAMES, *PROCESS, *UNDETERMINED, *WORDS, *NUMBERS]))
            return atom(key, "exists")
        case 1:
            key = draw(st.sampled_from(list(NUMBERS)))
            return atom(key, draw(st.sampled_from(NUMBER_OPERATORS)), draw(st.sampled_from(NUMBERS[key])))
        case 2:
            return atom(draw(st.sampled_from(FLAGS)), "=", draw(st.booleans()))
        case 3:
            key = draw(st.sampled_from(list(WORDS)))
            return atom(key, draw(st.sampled_from(["=", "!=", "contains"])), draw(st.sampled_from(WORDS[key])))
        case 4:
            left, right = (draw(st.sampled_from([*NAMES, *PROCESS, *UNDETERMINED])) for _ in range(2))
            return atom(left, draw(st.sampled_from(["=", "!=", "startswith"])), right=operand(right))
        case 5:
            return atom(draw(st.sampled_from([*NAMES, *PROCESS])), "in", *draw(st.lists(TEXTS, max_size=3)))
    key = draw(st.sampled_from([*NAMES, *PROCESS, *UNDETERMINED]))
    return atom(key, draw(st.sampled_from(["=", "!=", "startswith", "endswith", "contains"])), draw(TEXTS))


def above(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(several.map(And), several.map(And), several.map(Or), inner.map(Not))


CONDITIONS = st.recursive(atoms(), above, max_leaves=6)
PROCESSES = st.lists(
    st.fixed_dictionaries(dict.fromkeys(PROCESS, TEXTS) | {"user.uid": st.sampled_from([0, 1, 2])}),
    min_size=1,
    max_size=3,
).map(lambda each: [Process(pid, fields) for pid, fields in enumerate(each, 1)])
CALLED = {
    "openat": ([0, 0o101, 2], [0, 0o100]),
    "fchmod": ([0, 0o4000, 0o100], [0]),
    "fchownat": ([0, 1], [0, 1]),
}


@st.composite
def calls(draw: st.DrawFn, processes: list[Process]) -> Call:
    name = draw(st.sampled_from(["openat", "openat", "openat", "fchmod", "fchownat"]))
    result = st.sampled_from([-errno.ENOENT, -errno.EACCES, 3, 15, 16, 17, 300] if name == "openat" else [-2, 0])
    return Call(
        name,
        draw(st.sampled_from(processes)),
        draw(result),
        tuple(draw(st.sampled_from(values)) for values in CALLED[name]),  # type: ignore[arg-type]
        draw(st.sampled_from(["/", "/a", "/b"])),
        draw(st.sampled_from(["/a", "/a/b", "/s", "a", "b", "a/b", "./a", "../s", "//a"])),
        draw(st.sampled_from(["/a", "/a/b", "/b/a", "/s"])),
        draw(st.sampled_from(list(KINDS))),
        {key: draw(TEXTS) for key in ("user.name", "evt.arg.uid") if draw(st.booleans())},
    )


@pytest.fixture(autouse=True)
def on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning.platform, "machine", lambda: MACHINE)


def stream(kernel: Kernel, learner: Learner, matcher: Matcher, made: list[Call]) -> int:
    """The calls one after the other, each checked if it is dropped and learned from if it isn't; how many were."""
    dropped = 0
    for call in made:
        facts = kernel.look(call)
        event = Seen(call, facts or b"")
        matched = matcher.match(event)
        if facts is None:
            assert not matched, (call, matched)
            dropped += 1
        elif not matched:
            learner.learn(event)  # type: ignore[arg-type]
    return dropped


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_is_dropped_matches_nothing(data: st.DataObject) -> None:
    processes = data.draw(PROCESSES)
    kernel = Kernel()
    learner = Learner(kernel.maps)
    for _ in range(2):  # two sets of rules, one after the other
        rules = [rule(node, name=str(at)) for at, node in enumerate(data.draw(st.lists(CONDITIONS, max_size=4)))]
        made = data.draw(st.lists(calls(processes), min_size=1, max_size=12))
        learner.use(rules)
        stream(kernel, learner, Matcher(rules), [*made * 4, *made[::-1]])


OPEN = Call("openat", Process(1, {"proc.name": "x"}), 17)


def learned(*conditions: Node) -> tuple[Kernel, Learner, Matcher]:
    rules = [rule(condition, name=str(at)) for at, condition in enumerate(conditions)]
    kernel = Kernel()
    learner = Learner(kernel.maps)
    learner.use(rules)
    return kernel, learner, Matcher(rules)


@pytest.mark.parametrize(
    "condition",
    [
        atom("proc.name", "=", "other"),
        And((atom("evt.type", "=", "openat"), atom("fd.name", "=", "/other"))),
        And((atom("evt.arg.flags", "contains", "O_CREAT"), atom("user.name", "=", "x"))),
        And((atom("fd.typechar", "=", "d"), atom("fd.filename", "=", "a"))),
        And((atom("evt.rawres", "<", 0), atom("fd.name", "=", "/a"))),
    ],
)
def test_what_can_be_decided_is_dropped(condition: Node) -> None:
    """The filter filters: or the tests of what it never drops would prove nothing."""
    assert stream(*learned(condition), [OPEN] * 20) > 10


@pytest.mark.parametrize(
    "condition",
    [
        atom("user.name", "=", "other"),
        atom("evt.rawres", "=", 1000),
        atom("fd.name", "=", right=operand("proc.name")),
        atom("fd.name", "!=", right=operand("fd.nameraw")),
        And((atom("fd.typechar", "=", "f"), atom("user.name", "=", "other"))),
    ],
)
def test_what_no_key_holds_is_not_dropped(condition: Node) -> None:
    assert stream(*learned(condition), [OPEN] * 20) == 0


def test_a_process_whose_lineage_is_about_to_change_gets_no_class() -> None:
    kernel, learner, _ = learned(atom("proc.name", "=", "other"))
    for _ in range(20):
        facts = kernel.look(OPEN)
        assert facts is not None
        learner.learn(Seen(OPEN, facts, LINEAGE_ENDS))  # type: ignore[arg-type]
    assert kernel.look(OPEN) is not None


def test_nothing_is_learned_from_a_record_without_a_generation() -> None:
    """A 32-bit call has no key of its own."""
    kernel, learner, _ = learned(atom("proc.name", "=", "other"))
    facts = kernel.look(OPEN)
    assert facts is not None
    for _ in range(20):
        learner.learn(Seen(OPEN, bytes(4) + facts[4:]))  # type: ignore[arg-type]
    assert not kernel.maps.verdicts
    assert not kernel.maps.process_classes


def test_a_verdict_is_not_learned_under_the_class_of_what_the_process_was() -> None:
    """The kernel still took the process for what it was, the record already says what it is."""
    kernel, learner, matcher = learned(And((atom("proc.name", "=", "x"), atom("user.name", "=", "y"))))
    for _ in range(5):
        stream(kernel, learner, matcher, [OPEN])
    facts = kernel.look(OPEN)
    assert facts is not None
    kernel.maps.verdicts.clear()
    learner._known_verdicts.clear()
    renamed = Call("openat", Process(1, {"proc.name": "harmless"}), 17)
    learner.learn(Seen(renamed, facts))  # type: ignore[arg-type]
    assert kernel.look(OPEN) is not None


def test_a_generation_is_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ran full begins anew; the next rules begin after it."""
    kernel, learner, matcher = learned(atom("proc.name", "=", "other"))
    monkeypatch.setattr(learning, "_MAX_CLASSES", 0)
    stream(kernel, learner, matcher, [OPEN] * 4)
    assert learner.generation > 1
    following = Learner(kernel.maps, learner.generation)
    assert following.use([rule(atom("proc.name", "=", "x"))]) > learner.generation
    assert kernel.look(OPEN) is not None


# What is said to be determined


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_each_call_is_judged_by_its_own_rules(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number is one call on one architecture and another on the next."""
    monkeypatch.setattr(learning.platform, "machine", lambda: machine)
    for call in SYSCALLS:
        for number in native_numbers(call, machine):
            other = Learner(Kernel().maps)
            if call.name in ("fchmod", "fchmodat", "openat", "setresuid", "chdir", "connect", "umount2"):
                other.use([rule(atom("evt.type", "=", call.name))])
                assert other._without[number].may_match(Event("syscall", 0, {}))


@pytest.mark.parametrize("call", SYSCALLS, ids=lambda call: call.name)
def test_the_arguments_that_decide_are_those_of_the_plan(call: Any) -> None:
    numbers = native_numbers(call, MACHINE)
    determined = {name for name in determined_by(call).values if name.startswith("evt.arg.")}
    told = {f"evt.arg.{parameter.name}" for parameter in keyed(call)}
    assert determined <= told
    for number in numbers:
        plan = plans([call], MACHINE)[number]
        wanted = [int(parameter.source) for parameter in keyed(call)]
        assert list(plan[8:11]) == [*wanted, *[255] * (3 - len(wanted))]
        assert plan[11] == (call.name in CHANGES_PROCESS)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("call", SYSCALLS, ids=lambda call: call.name)
@settings(max_examples=20, deadline=None)
def test_an_argument_is_printed_from_the_32_bits_that_the_key_holds(call: Any, low: int, high: int) -> None:
    for parameter in keyed(call):
        if f"evt.arg.{parameter.name}" in determined_by(call).values:
            shown = render.KINDS[parameter.kind]
            assert shown(low) == shown(high << 32 | low)


def test_what_others_name_is_not_determined_by_a_number() -> None:
    for name in ("fchownat", "chown", "setuid"):
        assert not {"evt.arg.uid", "evt.arg.gid"} & determined_by(BY_NAME[name]).values
