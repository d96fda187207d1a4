"""Compiles conditions one by one, each with its problems at their places and the broken macros that it uses."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf

from tiercel_engine.condition import Atom, FieldOperand, Node, Operator
from tiercel_engine.diagnostics import Diagnostic, Severity
from tiercel_engine.fields import REGISTRY, lookup
from tiercel_engine.language import ConditionError, Problem, check, parse
from tiercel_engine.language.checker import Checked
from tiercel_engine.language.syntax import Expr
from tiercel_engine.language.withheld import Withheld
from tiercel_engine.rules.definitions import Definition, Definitions
from tiercel_engine.rules.documents.decoding import VALIDATE
from tiercel_engine.rules.documents.items import ListItem, MacroItem
from tiercel_engine.rules.documents.report import diagnose
from tiercel_engine.rules.documents.source_file import SourceText
from tiercel_engine.rules.lists import Lists
from tiercel_engine.rules.references import References, find_references
from tiercel_engine.suggestions import Suggester

COMPILE_CONDITION = "LOAD_ERR_COMPILE_CONDITION"

# Takes the place of a macro that could not be compiled, so that conditions that use it are still checked.
_PLACEHOLDER = Atom(FieldOperand(REGISTRY["evt.type"]), Operator.EXISTS)


@dataclass(frozen=True, slots=True)
class CompiledCondition:
    """The result of compiling a condition. ``node`` is None if the condition, or a macro that it uses, has an error.

    ``diagnostics`` are the problems of the condition itself, ``broken_macros`` the names of macros whose own errors
    make it unusable. ``unknown_field`` says whether it names a field that does not exist.
    """

    node: Node | None
    diagnostics: tuple[Diagnostic, ...] = ()
    broken_macros: frozenset[str] = frozenset()
    unknown_field: bool = False


@dataclass(frozen=True, slots=True)
class ParsedCondition:
    """The result of parsing a condition. ``expr`` is None after an error, which ``diagnostics`` holds."""

    expr: Expr | None
    refers_to: References
    diagnostics: tuple[Diagnostic, ...] = ()


_NOTHING = References((), (), {})


def parse_condition(text: SourceText, item: tuple[str, str]) -> ParsedCondition:
    """Parses a condition. ``item`` is the type and name of the item that holds it, for diagnostics."""
    try:
        expr = parse(text.text)
    except ConditionError as error:
        place = text.span(error.start, error.end)
        diagnostic = diagnose(Severity.ERROR, COMPILE_CONDITION, error.message, place, item, error.hint)
        return ParsedCondition(None, _NOTHING, (diagnostic,))
    return ParsedCondition(expr, find_references(expr))


def diagnosed(
    problems: Iterable[Problem], text: SourceText, item: tuple[str, str], unknown_field: str = COMPILE_CONDITION
) -> tuple[Diagnostic, ...]:
    """Diagnostics of the problems, at their places in the files. ``unknown_field`` is the code for unknown fields."""
    return tuple(
        diagnose(
            problem.severity,
            unknown_field if problem.unknown_field else problem.code,
            problem.message,
            text.span(problem.start, problem.end),
            item,
            problem.hint,
        )
        for problem in problems
    )


def broken_lists(
    refers_to: References, lists: Lists, text: SourceText, item: tuple[str, str]
) -> tuple[Diagnostic, ...]:
    """An error for each named list that has an error itself, because its items are not known."""
    return tuple(
        diagnose(Severity.ERROR, VALIDATE, f"the list {name} has an error", text.span(word.start, word.end), item)
        for name, word in refers_to.words.items()
        if name in lists.broken
    )


def names_unknown_field(refers_to: References) -> bool:
    """Whether one of the fields does not exist."""
    return any(lookup(field.name) is None for field in refers_to.fields)


@dataclass(slots=True)
class ConditionCompiler:
    """Compiles conditions that may use the defined macros and lists.

    A macro is checked when the first condition that uses it is compiled, or by ``compile_macro``. The other macros are
    not checked: a macro that only rules of another event source use may name fields that do not exist here.
    """

    definitions: Definitions
    lists: Lists
    suggester: Suggester
    own: Container[str] | None = None
    """Names of the files whose macros and lists may be shown; None if those of all may be."""
    withheld: Withheld = field(default_factory=Withheld)
    """What the compiled conditions have of others."""
    macros: dict[str, ParsedCondition] = field(default_factory=dict)
    private_lists: set[str] = field(init=False)
    _compiled: dict[str, CompiledCondition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        defined = self.definitions.lists
        self.private_lists = {name for name, definition in defined.items() if not self._is_own(definition)}
        if self.private_lists:  # and those that have their items
            while more := {
                name
                for name, definition in defined.items()
                if name not in self.private_lists and not self.private_lists.isdisjoint(definition.item.items or ())
            }:
                self.private_lists |= more
        for name, definition in self.definitions.macros.items():
            condition = definition.item.condition
            assert condition is not None
            self.macros[name] = parse_condition(condition, ("macro", name))
        for kind, name in self.definitions.broken:
            if kind == "macro" and name not in self.macros:
                self._compiled[name] = CompiledCondition(None, broken_macros=frozenset({name}))

    def compile(self, parsed: ParsedCondition, text: SourceText, item: tuple[str, str]) -> CompiledCondition:
        """Compiles the condition of a rule, which may use every macro."""
        self._compile_macros([ref.name for ref in reversed(parsed.refers_to.macros)])
        return self._check(parsed, text, item, inf)

    def check(self, expr: Expr, macros: Mapping[str, Node]) -> Checked:
        """Checks an expression that may use these macros, and all lists."""
        checked = check(
            expr, macros=macros, lists=self.lists.items, suggester=self.suggester, private=self.private_lists
        )
        self.withheld.update(checked.withheld)
        return checked

    def compile_macro(self, name: str) -> None:
        """Compiles a macro, whether or not a condition uses it."""
        self._compile_macros([name])

    def is_compiled(self, name: str) -> bool:
        """Whether the macro has been compiled."""
        return name in self._compiled

    def macro(self, name: str) -> CompiledCondition:
        """The result for a macro that has been compiled. Raises KeyError for another."""
        return self._compiled[name]

    def macro_diagnostics(self, name: str) -> tuple[Diagnostic, ...]:
        """The known problems of a macro. For one that is not compiled: syntax errors and macros that do not exist."""
        compiled = self._compiled.get(name)
        return compiled.diagnostics if compiled else (*self.macros[name].diagnostics, *self._missing_macros(name))

    def _is_own(self, definition: Definition[MacroItem] | Definition[ListItem]) -> bool:
        return self.own is None or definition.item.span.source.name in self.own

    def _missing_macros(self, name: str) -> Iterator[Diagnostic]:
        """An error for each macro that this macro names and cannot use."""
        definition = self.definitions.macros[name]
        condition = definition.item.condition
        assert condition is not None
        for ref in self.macros[name].refers_to.macros:
            other = self.definitions.macros.get(ref.name)
            is_seen = other is not None and other.place < definition.seen_from and ref.name != name
            if not is_seen and ("macro", ref.name) not in self.definitions.broken:
                message, place = f"there is no macro {ref.name}", condition.span(ref.start, ref.end)
                yield diagnose(Severity.ERROR, VALIDATE, message, place, ("macro", name))

    def _compile_macros(self, stack: list[str]) -> None:
        """Compiles the macros on the stack and the macros that they use, without recursion."""
        opened: set[str] = set()
        while stack:
            name = stack[-1]
            definition = self.definitions.macros.get(name)
            if name in self._compiled or definition is None:
                stack.pop()
                continue
            waiting = [inner for inner in self._visible_macros(name, definition) if inner not in self._compiled]
            if waiting and name not in opened:
                opened.add(name)
                stack.extend(reversed(waiting))
                continue
            stack.pop()
            self._compiled[name] = self._loop(name, waiting[0]) if waiting else self._macro(name, definition)

    def _visible_macros(self, name: str, definition: Definition[MacroItem]) -> Iterator[str]:
        for ref in self.macros[name].refers_to.macros:
            other = self.definitions.macros.get(ref.name)
            if other is not None and other.place < definition.seen_from and ref.name != name:
                yield ref.name

    def _macro(self, name: str, definition: Definition[MacroItem]) -> CompiledCondition:
        condition = definition.item.condition
        assert condition is not None
        return self._check(self.macros[name], condition, ("macro", name), definition.seen_from, name)

    def _loop(self, name: str, through: str) -> CompiledCondition:
        ref = next(ref for ref in self.macros[name].refers_to.macros if ref.name == through)
        condition = self.definitions.macros[name].item.condition
        assert condition is not None
        message = f"the macro {name} uses itself, through {through}"
        place = condition.span(ref.start, ref.end)
        diagnostic = diagnose(Severity.ERROR, VALIDATE, message, place, ("macro", name))
        return CompiledCondition(None, (diagnostic,), frozenset({name}))

    def _check(
        self,
        parsed: ParsedCondition,
        text: SourceText,
        item: tuple[str, str],
        seen_from: float,
        name: str | None = None,
    ) -> CompiledCondition:
        if parsed.expr is None:
            return CompiledCondition(None, parsed.diagnostics, frozenset({name}) if name else frozenset())
        checked = self.check(parsed.expr, _Visible(self, seen_from, name))
        if checked.node is not None and name is not None and not self._is_own(self.definitions.macros[name]):
            self.withheld.add_macro(checked.node, name)
        diagnostics = diagnosed(checked.problems, text, item) + broken_lists(parsed.refers_to, self.lists, text, item)
        used = [self._compiled[ref.name] for ref in parsed.refers_to.macros if ref.name in self._compiled]
        broken_macros = frozenset[str]().union(*(macro.broken_macros for macro in used))
        if any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics):
            unknown_field = names_unknown_field(parsed.refers_to)
            return CompiledCondition(None, diagnostics, broken_macros | ({name} if name else set()), unknown_field)
        return CompiledCondition(None if broken_macros else checked.node, diagnostics, broken_macros)


class _Visible(Mapping[str, Node]):
    """The macros that a condition may use. Those that it does use have been compiled."""

    def __init__(self, conditions: ConditionCompiler, seen_from: float, itself: str | None) -> None:
        self._conditions = conditions
        self._seen_from = seen_from
        self._itself = itself

    def __getitem__(self, name: str) -> Node:
        definition = self._conditions.definitions.macros.get(name)
        if definition is None:
            if ("macro", name) in self._conditions.definitions.broken:
                return _PLACEHOLDER
            raise KeyError(name)
        if definition.place >= self._seen_from or name == self._itself:
            raise KeyError(name)
        compiled = self._conditions.macro(name)
        return compiled.node if compiled.node is not None else _PLACEHOLDER

    def __iter__(self) -> Iterator[str]:
        for name, definition in self._conditions.definitions.macros.items():
            if definition.place < self._seen_from and name != self._itself:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)
