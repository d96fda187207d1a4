"""What the filter stops matches no rule, and what it takes for matched does: the decision's own C, compiled for user
space, and the learner, against the exact evaluator, on random rules and calls."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest
from agent_support.kernel_model import MACHINE, Call, Kernel, Process
from engine_support.evaluation import atom, operand, rule
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tiercel_agent.context.paths import clean
from tiercel_agent.context.words import whole
from tiercel_agent.events import render
from tiercel_agent.events.descriptor import OpenFile
from tiercel_agent.events.images import Image
from tiercel_agent.events.syscalls import (
    BY_NAME,
    CHANGES_PROCESS,
    SYSCALLS,
    keyed,
    known_numbers,
    native_numbers,
    plans,
)
from tiercel_agent.filter.budget import FilterBudget
from tiercel_agent.filter.decidability import decidable_fields
from tiercel_agent.filter.tables import make_tables
from tiercel_agent.kernel.records import LINEAGE_ENDS, FileFacts, Section
from tiercel_engine.condition import And, Node, Not, Or
from tiercel_engine.event import Event
from tiercel_engine.fields import Stage, documented
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.rule import Origin, Rule
from tiercel_engine.scope import SYSTEM_NAMESPACE, Scope
from tiercel_engine.uncertain import UNKNOWN, Beginning, Ending, is_uncertain

KINDS = {8: ("file", "f"), 4: ("directory", "d"), 1: ("pipe", "p")}

# What user space makes of a call


class Seen(Event):
    """An event with the little of a syscall record that the learner asks for."""

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
        self.uncertain = any(map(is_uncertain, fields.values()))
        self.record = SimpleNamespace(
            sections=sections,
            call=kind,
            process=SimpleNamespace(pid=call.process.pid),
            header=SimpleNamespace(result=call.result, flags=flags, cgroup=1),
            context=SimpleNamespace(containers=SimpleNamespace(is_known=lambda *_: True)),
            names=SimpleNamespace(fd=SimpleNamespace(given=given, raw=raw)),
            descriptor=opened,
            container=None,
            image=Image(whole(b"program"), None, "", None),
            ancestors=[],
            ancestor_image=lambda _index: None,
        )


# Random rules and calls

TEXTS = st.sampled_from(["/a", "/a/b", "/s", "a", "b", "/b/a", "x"])
PARTLY_KNOWN = st.one_of(TEXTS, TEXTS.map(Beginning), TEXTS.map(Ending), st.just(UNKNOWN))
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
PATTERNS = {
    "glob": ["/a*", "*b", "/?/b", "/[ab]/*", "a*", "*", "/a/*b", "\\\\a", "/*/", ""],
    "iglob": ["/A*", "*B"],
    "icontains": ["A", "B/", "/a/B"],
    "pmatch": ["/a", "/a/b", "/*/b", "a", "/", "/[ab]", "//b/"],
    "regex": ["/a.*", "/b", ".*b", "/a|/b/a", "/a?/b", "(?i)/A", "[/].*"],
    "startswith": ["/", "", "/a/", "a"],
    "endswith": ["/b", "b", "", "/"],
}
FLAGS = ["evt.is_open_read", "evt.is_open_write", "evt.failed"]
NUMBER_OPERATORS = ["=", "!=", "<", "<=", ">", ">="]


@st.composite
def atoms(draw: st.DrawFn) -> Node:
    match draw(st.integers(0, 9)):
        case 8 | 9:
            key, operator = draw(st.sampled_from(NAMES)), draw(st.sampled_from(list(PATTERNS)))
            texts = draw(st.lists(st.sampled_from(PATTERNS[operator]), min_size=1, max_size=2, unique=True))
            if operator == "pmatch":
                return atom(key, operator, *texts)
            return atom(key, operator, *texts, quantifier="anyof" if len(texts) > 1 else None)
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
    st.fixed_dictionaries(dict.fromkeys(PROCESS, PARTLY_KNOWN) | {"user.uid": st.sampled_from([0, 1, 2])}),
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


TENANTS = ("shop", "bank", "zoo")


def tenants_rule(condition: Node, name: str, namespace: str) -> Rule:
    """A rule as a SecurityRule of this namespace has it, with its scope."""
    scope = Scope(frozenset({namespace}), pods=()).condition
    assert scope is not None
    if namespace != SYSTEM_NAMESPACE:
        condition = And((condition, scope))
    return rule(condition, name=name, origin=Origin(namespace, "object"))


@pytest.fixture(autouse=True)
def on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: MACHINE)


def stream(kernel: Kernel, matcher: Matcher, rules: list[Any], made: list[Call]) -> int:
    """Checks each of the calls in turn: that a call that is stopped matches no rule, else learns from it. Returns how
    many were stopped."""
    stopped = 0
    for call in made:
        decision = kernel.decide(call)
        event = Seen(call, decision.facts or b"")
        matched = {match.name for match, _ in matcher.match(event)}
        if decision.facts is None:
            assert not matched, (call, matched)
            stopped += 1
        else:
            assert {rules[position].name for position in decision.certain} <= matched, (call, matched)
            kernel.learner.learn(event)  # type: ignore[arg-type]
    return stopped


@settings(max_examples=400)
@given(st.data())
def test_what_is_stopped_matches_nothing_and_what_is_certain_matches(data: st.DataObject) -> None:
    processes = data.draw(PROCESSES)
    rules = [
        rule(node, name=str(at)) for at, node in enumerate(data.draw(st.lists(CONDITIONS, min_size=1, max_size=6)))
    ]
    made = data.draw(st.lists(calls(processes), min_size=1, max_size=12))
    stream(Kernel(rules), Matcher(rules), rules, [*made * 4, *made[::-1]])


@settings(max_examples=15)
@given(st.data())
def test_many_rules_at_once(data: st.DataObject) -> None:
    """There are so many rules that candidate sets have several words."""
    processes = data.draw(PROCESSES)
    conditions = data.draw(st.lists(CONDITIONS, min_size=60, max_size=90))
    rules = [rule(node, name=str(at)) for at, node in enumerate(conditions)]
    made = data.draw(st.lists(calls(processes), min_size=4, max_size=8))
    stream(Kernel(rules), Matcher(rules), rules, [*made * 4, *made[::-1]])


@settings(max_examples=200)
@given(st.data())
def test_whatever_is_beyond_a_budget_nothing_that_matches_is_stopped(data: st.DataObject) -> None:
    """Rules of the system and of tenants, which have too little room for all of them."""
    processes = [
        Process(each.pid, {**each.fields, **({"k8s.ns.name": namespace} if namespace else {})})
        for each in data.draw(PROCESSES)
        for namespace in [data.draw(st.sampled_from(["", *TENANTS]))]
    ]
    rules = [
        tenants_rule(data.draw(CONDITIONS), str(at), data.draw(st.sampled_from([SYSTEM_NAMESPACE, *TENANTS])))
        for at in range(data.draw(st.integers(2, 9)))
    ]
    budget = FilterBudget(
        shared=data.draw(st.integers(3, 12)),
        system=data.draw(st.integers(0, 10)),
        namespace=3,
        states=data.draw(st.integers(4, 30)),
        floating_states=data.draw(st.integers(4, 30)),
    )
    made = data.draw(st.lists(calls(processes), min_size=1, max_size=12))
    stream(Kernel(rules, budget), Matcher(rules), rules, [*made * 4, *made[::-1]])


OPEN = Call("openat", Process(1, {"proc.name": "x"}), 17)


def learned(*conditions: Node) -> tuple[Kernel, Matcher, list[Any]]:
    rules = [rule(condition, name=str(at)) for at, condition in enumerate(conditions)]
    return Kernel(rules), Matcher(rules), rules


@pytest.mark.parametrize(
    "condition",
    [
        atom("proc.name", "=", "other"),
        And((atom("evt.type", "=", "openat"), atom("fd.name", "=", "/other"))),
        And((atom("evt.arg.flags", "contains", "O_CREAT"), atom("user.name", "=", "x"))),
        And((atom("fd.typechar", "=", "d"), atom("fd.filename", "=", "a"))),
        And((atom("evt.rawres", "<", 0), atom("fd.name", "=", "/a"))),
        Or((And((atom("proc.name", "=", "y"), atom("fd.name", "=", "/a"))), atom("fd.name", "endswith", "z"))),
    ],
)
def test_what_can_be_decided_is_stopped(condition: Node) -> None:
    """The filter does stop calls. Otherwise the tests of what it must not stop would prove nothing."""
    assert stream(*learned(condition), [OPEN] * 20) > 10


@pytest.mark.parametrize(
    ("operator", "text", "is_stopped"),
    [("contains", "z", False), ("startswith", "z", True), ("startswith", "ab", False)],
)
def test_a_process_whose_text_is_cut_is_learned_as_far_as_it_is_known(
    operator: str, text: str, is_stopped: bool
) -> None:
    cut = Call("openat", Process(1, {"proc.args": Beginning("a")}), 17)
    for condition in (atom("proc.args", operator, text), Not(Not(atom("proc.args", operator, text)))):
        assert bool(stream(*learned(condition), [cut] * 20)) == is_stopped
    assert not stream(*learned(Not(atom("proc.args", operator, text))), [cut] * 20)


@pytest.mark.parametrize("name", ["/other/1", "/tmp/x", "/ab", "/", "/b/../a2"])
def test_names_need_not_be_learned(name: str) -> None:
    kernel, matcher, rules = learned(And((atom("fd.name", "=", "/a"), atom("user.name", "=", "x"))))
    new = Call("openat", Process(9, {}), 5, text=name, real=clean(name))
    stopped = stream(kernel, matcher, rules, [new])
    assert stopped


@given(st.text(alphabet="/.ab", max_size=40))
@example("/" + "a/" * 200 + "../" * 199)
@example("/" + "x" * 510)
@example("/..")
def test_the_kernel_cleans_names_as_user_space_does(rest: str) -> None:
    kernel, _, _ = learned(atom("fd.name", "=", "/a"))
    name = f"/{rest}"[:511]
    assert kernel.cleaned(name) == clean(name)


@pytest.mark.parametrize(
    ("condition", "certain"),
    [
        (atom("fd.name", "=", "/a"), True),
        (
            And((atom("fd.name", "glob", "/*"), atom("proc.name", "=", "x"), atom("evt.arg.flags", "=", "O_RDONLY"))),
            True,
        ),
        (And((atom("fd.name", "=", "/a"), Not(atom("fd.name", "contains", "b")))), True),
        (Not(atom("fd.name", "regex", "/b.*")), False),
        (And((atom("fd.name", "=", "/a"), atom("user.name", "=", "root"))), False),
        (atom("fd.name", "glob", "/[a-c]"), False),
    ],
)
def test_the_kernel_is_certain_of_what_it_decides_alone(condition: Node, certain: bool) -> None:
    kernel, matcher, rules = learned(And((atom("evt.type", "=", "openat"), condition)))
    stream(kernel, matcher, rules, [OPEN] * 5)
    assert kernel.decide(OPEN).certain == ({0} if certain else frozenset())


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
def test_what_no_signal_decides_is_not_stopped(condition: Node) -> None:
    assert stream(*learned(condition), [OPEN] * 20) == 0


def test_a_process_whose_lineage_is_about_to_change_is_not_learned() -> None:
    kernel, _, _ = learned(atom("proc.name", "=", "other"))
    for _ in range(20):
        facts = kernel.decide(OPEN).facts
        assert facts is not None
        kernel.learner.learn(Seen(OPEN, facts, LINEAGE_ENDS))  # type: ignore[arg-type]
    assert kernel.decide(OPEN).facts is not None


def test_what_a_process_was_before_the_programs_ran_is_not_learned() -> None:
    """The programs haven't seen what changed before they ran."""
    kernel, matcher, rules = learned(atom("proc.name", "=", "other"))
    kernel.learner.since = 1  # the model's records are as of 1
    assert stream(kernel, matcher, rules, [OPEN] * 20) == 0
    kernel.learner.since = 0
    assert stream(kernel, matcher, rules, [OPEN] * 20) > 10


def test_nothing_is_learned_from_a_record_without_a_key() -> None:
    """A 32-bit call has no key of its own."""
    kernel, _, _ = learned(atom("proc.name", "=", "other"))
    facts = kernel.decide(OPEN).facts
    assert facts is not None
    for _ in range(20):
        kernel.learner.learn(Seen(OPEN, facts[:24] + b"\x10" + facts[25:]))  # type: ignore[arg-type]
    assert not any(kernel.maps)


def test_rules_that_are_too_many_for_the_kernel_are_left_to_user_space() -> None:
    conditions = [And((atom("evt.type", "=", "openat"), atom("fd.name", "=", f"/{at}"))) for at in range(10)]
    rules = [rule(condition, name=str(at)) for at, condition in enumerate(conditions)]
    kernel, matcher = Kernel(rules, FilterBudget(system=3)), Matcher(rules)
    assert kernel.tables.clauses.left_out == tuple(map(str, range(3, 10)))
    made = [Call("openat", Process(1, {}), 3, text=f"/{at}", real=f"/{at}") for at in range(12)]
    assert stream(kernel, matcher, rules, made * 2) == 0


# Which fields are decidable


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_each_call_is_judged_by_its_own_rules(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same number stands for different calls on different architectures."""
    monkeypatch.setattr("platform.machine", lambda: machine)
    for call in SYSCALLS:
        tables = make_tables([rule(atom("evt.type", "=", call.name))])
        assert tables.plans.keys() == set(known_numbers(call, machine))


@pytest.mark.parametrize("call", SYSCALLS, ids=lambda call: call.name)
def test_the_arguments_that_decide_are_those_of_the_plan(call: Any) -> None:
    numbers = native_numbers(call, MACHINE)
    decidable = {name for name in decidable_fields(call).values if name.startswith("evt.arg.")}
    told = {f"evt.arg.{parameter.name}" for parameter in keyed(call)}
    has = {f"evt.arg.{parameter.name}" for parameter in call.parameters}
    assert decidable & has <= told  # what the call hasn't got has no value, whatever is passed
    for number in numbers:
        plan = plans([call], MACHINE, {})[number]
        wanted = [int(parameter.source) for parameter in keyed(call)]
        assert list(plan[8:11]) == [*wanted, *[255] * (3 - len(wanted))]
        assert plan[11] == (call.name in CHANGES_PROCESS)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("call", [call for call in SYSCALLS if keyed(call)], ids=lambda call: call.name)
@settings(max_examples=20)
def test_an_argument_is_printed_from_the_32_bits_that_the_key_holds(call: Any, low: int, high: int) -> None:
    for parameter in keyed(call):
        if f"evt.arg.{parameter.name}" in decidable_fields(call).values:
            shown = render.KINDS[parameter.kind]
            assert shown(low) == shown(high << 32 | low)


def test_names_of_users_are_not_decidable_by_their_number() -> None:
    for name in ("fchownat", "chown", "setuid"):
        assert not {"evt.arg.uid", "evt.arg.gid"} & decidable_fields(BY_NAME[name]).values


def test_the_registry_tells_where_fields_are_tested() -> None:
    """The fields that are documented as tested in the kernel are those that the filter decides for some call."""
    decided = {"evt.rawres", "fd.num"}
    for call in SYSCALLS:
        decidable = decidable_fields(call)
        decided |= decidable.values | decidable.names | decidable.raw_names | decidable.connection
    of_kernel = {field.name for field in documented() if field.stage is Stage.KERNEL}
    assert of_kernel == {field.name for field in documented() if field.name in decided}
