"""Runs tests of rules, and explains why one failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tiercel_engine.condition import And, Atom, Node, Not, Or
from tiercel_engine.evaluation.codegen import compile_program
from tiercel_engine.evaluation.graph import Graph
from tiercel_engine.evaluation.walk import atom_fields, postorder
from tiercel_engine.event import Event, Value
from tiercel_engine.language.printer import print_node, quoted
from tiercel_engine.language.size import measure
from tiercel_engine.language.withheld import Withheld
from tiercel_engine.rule import Rule
from tiercel_engine.rule_tests.model import Outcome, RuleTest, RuleTests, Suite

_MAX_EXPLAINED = 5
_MAX_PRINTED_SIZE = 5000
_MAX_TEXT = 200
_MAX_VALUES = 3


def run(tests: RuleTests, rules: Iterable[Rule], withheld: Withheld | None = None) -> tuple[Outcome, ...]:
    """The outcomes of the tests with these rules, in the order of the tests.

    ``rules`` are the loaded rules of the tests' manifests, including disabled ones. Further rules have no effect.

    The scope of a manifest is applied only to events that say where they happened: events that have a field that the
    scope tests, or the host as their container. All other events count as inside the scope, so that the tests of a
    namespace's rules need not repeat the namespace in each event.

    Of macros and lists that are ``withheld`` an explanation has the names and not the content.
    """
    by_name = {rule.name: rule for rule in rules}
    return tuple(
        outcome for suite in tests.suites for outcome in _SuiteRun(suite, by_name, withheld or Withheld()).outcomes()
    )


class _SuiteRun:
    def __init__(self, suite: Suite, rules: Mapping[str, Rule], withheld: Withheld) -> None:
        self._suite = suite
        self._withheld = withheld
        self._rules = {name: rules[name] for name in suite.rules if name in rules}
        self._asked = _fields_of(suite.scope) if suite.scope is not None else frozenset()
        self._conditions: dict[bool, _Conditions] = {}
        self._explanations: dict[tuple[str, bool], _Explanation] = {}

    def outcomes(self) -> Iterator[Outcome]:
        return map(self._outcome, self._suite.tests)

    def _outcome(self, test: RuleTest) -> Outcome:
        scoped = self._says_where(test.event)
        matched = tuple(self._matching(test.event, scoped))
        missing = _without(test.expect, matched)
        unexpected = _without(matched, test.expect)
        message = "; ".join(
            (
                *_first(f"{_cut(name)} did not match: {self._why(name, test.event, scoped)}" for name in missing),
                *_first(f"{_cut(name)} matched, which is not expected" for name in unexpected),
            )
        )
        return Outcome(test, not missing and not unexpected, matched, missing, unexpected, message)

    def _says_where(self, event: Event) -> bool:
        """Whether the event says where it happened, so that the scope is applied to it."""
        return not self._asked.isdisjoint(event) or (bool(self._asked) and event["container.id"] == "host")

    def _matching(self, event: Event, scoped: bool) -> Iterator[str]:
        """The names of the rules that match the event, in their order."""
        rules = self._rules.values()
        if scoped not in self._conditions:
            self._conditions[scoped] = _Conditions(
                [rule.condition if scoped else self._parted(rule)[1] for rule in rules]
            )
        holding = self._conditions[scoped].holding(event)
        for number, rule in enumerate(rules):
            if number in holding and rule.enabled and rule.source == event.source:
                yield rule.name

    def _parted(self, rule: Rule) -> tuple[Node | None, Node]:
        """The scope that is part of a rule's condition, if it is the manifest's, and the condition without it."""
        match rule.condition:
            case And((scope, own)) if scope == self._suite.scope:
                return scope, own
        return None, rule.condition

    def _why(self, name: str, event: Event, scoped: bool) -> str:
        rule = self._rules.get(name)
        if rule is None:
            return "it was not loaded, which `tiercel lint` explains"
        if not rule.enabled:
            return "it is disabled"
        if rule.source != event.source:
            return f"it is about events of {rule.source}"
        if (name, scoped) not in self._explanations:
            scope, own = self._parted(rule)
            self._explanations[name, scoped] = _Explanation(scope if scoped else None, own, self._withheld)
        return self._explanations[name, scoped].why_not(event)


class _Conditions:
    """Conditions as one program for all event types: generating it takes longer than running it for the tests."""

    def __init__(self, conditions: Iterable[Node]) -> None:
        graph = Graph()
        numbered = [(number, graph.add(condition)) for number, condition in enumerate(conditions)]
        self._program = compile_program(graph, numbered)

    def holding(self, event: Event) -> dict[int, Event]:
        """The numbers of the conditions that hold, each with the first view of the event for which it holds."""
        views: dict[int, Event] = {}
        for view in event.views():
            for number in self._program(view):
                views.setdefault(number, view)
        return views


class _Explanation:
    """The parts of a rule's condition that must all hold, those of its scope first."""

    def __init__(self, scope: Node | None, own: Node, withheld: Withheld) -> None:
        of_scope = list(_conjuncts(scope, withheld)) if scope is not None else []
        self._scope_parts = len(of_scope)
        self._withheld = withheld
        self._parts = [*of_scope, *_conjuncts(own, withheld)]
        self._conditions = _Conditions(self._parts)

    def why_not(self, event: Event) -> str:
        """A text about the first part that does not hold for an event that the rule does not match."""
        views = self._conditions.holding(event)
        for number, part in enumerate(self._parts):
            if number not in views:
                where = "the event is not where the manifest's rules watch: " if number < self._scope_parts else ""
                values = _values(part, event, self._withheld)
                return f"{where}{self._text(part)} does not hold" + (f", {values}" if values else "")
        # All parts hold, but not for the same name of the file.
        number = next(number for number, view in views.items() if view is not event)
        return f"{self._text(self._parts[number])} holds under the file's resolved name alone, and others don't"

    def _text(self, part: Node) -> str:
        if self._withheld.is_macro(part) or measure(part)[0] <= _MAX_PRINTED_SIZE:
            return _cut(print_node(part, self._withheld))
        return "a part that is too long to show"


def _conjuncts(root: Node, withheld: Withheld) -> Iterator[Node]:
    """The parts that must all hold for the condition to hold, each once, in their order."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, And) and not withheld.is_macro(node):
            stack.extend(reversed(node.operands))
        else:
            yield node


def _fields_of(node: Node) -> frozenset[str]:
    return frozenset(_keys(postorder(node)))


def _keys(nodes: Iterable[Node]) -> Iterator[str]:
    """The keys of the fields that conditions compare themselves."""
    for part in nodes:
        if isinstance(part, Atom):
            yield from (operand.key for operand in atom_fields(part))


def _shown(root: Node, withheld: Withheld) -> Iterator[Node]:
    """The parts of a condition, each once and in their order, but for those of macros that are withheld."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in seen or withheld.is_macro(node):
            continue
        seen.add(id(node))
        yield node
        match node:
            case And(operands) | Or(operands):
                stack.extend(reversed(operands))
            case Not(operand):
                stack.append(operand)


def _values(part: Node, event: Event, withheld: Withheld) -> str:
    """The values that the event has for fields of the part."""
    keys = list(dict.fromkeys(_keys(_shown(part, withheld))))
    shown = [f"{_cut(key)} {_value_text(event[key])}" for key in keys[:_MAX_VALUES]]
    return ", ".join(shown) + (" …" if len(keys) > _MAX_VALUES else "")


def _value_text(value: Value | None) -> str:
    match value:
        case None:
            return "has no value"
        case str():
            return f"is {_cut(quoted(value[:_MAX_TEXT]))}"
        case list():
            return f"is ({_cut(', '.join(quoted(each) if isinstance(each, str) else str(each) for each in value))})"
        case bytes():
            return f"is {_cut(value.hex())}"
        case bool():
            return f"is {str(value).lower()}"
    return f"is {value}"


def _first(texts: Iterable[str]) -> Sequence[str]:
    """The first texts. The others are not even made."""
    shown: list[str] = []
    for number, text in enumerate(texts):
        if number == _MAX_EXPLAINED:
            return [*shown, "and more"]
        shown.append(text)
    return shown


def _without(names: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    known = frozenset(others)
    return tuple(name for name in names if name not in known)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
