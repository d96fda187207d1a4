"""Compiles the defined rules: checks their conditions and outputs, and adds their exceptions to the conditions."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace

from tiercel_engine.condition import And, Node, Not
from tiercel_engine.diagnostics import Diagnostic, Severity
from tiercel_engine.event_types import EVENT_TYPES, OBSERVABLE
from tiercel_engine.language.withheld import Withheld
from tiercel_engine.matching.requirements import event_types
from tiercel_engine.rendering.output import OutputError, compile_output
from tiercel_engine.rule import Rule
from tiercel_engine.rules.conditions import (
    COMPILE_CONDITION,
    ConditionCompiler,
    ParsedCondition,
    broken_lists,
    diagnosed,
    names_unknown_field,
    parse_condition,
)
from tiercel_engine.rules.definitions import Definitions, source_of
from tiercel_engine.rules.documents.decoding import VALIDATE
from tiercel_engine.rules.documents.items import RuleItem
from tiercel_engine.rules.documents.report import Report
from tiercel_engine.rules.exceptions import ExceptionCondition, exception_condition
from tiercel_engine.rules.lists import expand_lists
from tiercel_engine.rules.references import References, find_references
from tiercel_engine.scope import SYSTEM_NAMESPACE

COMPILE_OUTPUT = "LOAD_ERR_COMPILE_OUTPUT"


class RuleCompiler:
    """Compiles the definitions. Errors and warnings go to ``report``.

    ``own`` are the names of the files whose macros are checked even if no rule uses them, and whose macros and lists
    may be shown to whoever wrote the rules. None if those of all files may be, and none is checked without a use.
    ``usual_types``: only the usual event types may be asked for.
    """

    def __init__(
        self, definitions: Definitions, report: Report, own: Container[str] | None = None, *, usual_types: bool = False
    ) -> None:
        self._definitions = definitions
        self._report = report
        self._usual_types = usual_types
        self._lists = expand_lists(definitions, report)
        self._conditions = ConditionCompiler(definitions, self._lists, report.suggester, own)
        self._used_lists = set(self._lists.used)
        self._used_macros: set[str] = set()
        self._left_out: dict[str, list[str]] = {}
        self._all_macros_of = own or ()
        self._of_other_sources: set[str] = set()

    def rules(self) -> tuple[Rule, ...]:
        """The rules without an error, in the order of their first definitions."""
        for macro in self._conditions.macros.values():
            self._note_use(macro.refers_to)
        compiled = [self._rule(definition.item) for definition in self._definitions.rules.values()]
        unused = set(self._unused_macros())
        for name in unused:
            self._conditions.compile_macro(name)
        self._report_macros(unused)
        self._report_unused()
        return tuple(rule for rule in compiled if rule is not None)

    @property
    def withheld(self) -> Withheld:
        """What the rules' conditions have of macros and lists that may not be shown."""
        return self._conditions.withheld

    def _note_use(self, refers_to: References) -> None:
        self._used_macros.update(ref.name for ref in refers_to.macros)
        self._used_lists.update(word for word in refers_to.words if word in self._lists.items)

    def _rule(self, rule: RuleItem) -> Rule | None:
        item = ("rule", rule.name)
        assert rule.condition is not None
        assert rule.output is not None
        assert rule.priority is not None
        parsed = parse_condition(rule.condition, item)
        exceptions = self._exceptions(rule)
        self._note_use(parsed.refers_to)
        for exception in exceptions or ():
            self._note_use(find_references(exception.expr))
        if source_of(rule) not in EVENT_TYPES:
            self._of_other_sources.update(ref.name for ref in parsed.refers_to.macros)
            self._add(parsed.diagnostics)
            return None
        node = self._condition(rule, parsed, exceptions)
        output_is_good = self._check_output(rule)
        if node is None or not output_is_good:
            return None
        types = event_types(node, source_of(rule))
        if not self._may_ask_for(rule, types):
            return None
        if rule.warn_evttypes is not False:
            self._warn_of_event_types(rule, types)
        scope = rule.scope.condition if rule.scope is not None else None
        return Rule(
            name=rule.name,
            description=rule.desc.text if rule.desc else "",
            source=source_of(rule),
            priority=rule.priority,
            condition=node if scope is None else And((scope, node)),
            output=rule.output.text.strip(),  # a folded block of YAML ends with a line break
            tags=tuple(dict.fromkeys(rule.tags or ())),
            location=rule.span.source.location(rule.span.start),
            enabled=rule.enabled is not False,
        )

    def _may_ask_for(self, rule: RuleItem, types: frozenset[str]) -> bool:
        """Whether a rule may match these event types, and one of them is observed. If not, that is an error: nobody
        would notice that the rule is silent."""
        assert rule.condition is not None
        observed = types & OBSERVABLE[source_of(rule)]
        unusual = sorted(observed - EVENT_TYPES[source_of(rule)])
        if types and not observed:
            message = "the condition can only hold for events that are not observed, so that the rule would never alert"
            hint = (
                "tiercel lint says which of its event types aren't; docs/reference/event-types.md lists those that are"
            )
        elif self._usual_types and unusual:
            named = [name for name in unusual if name in rule.condition.text] or ["such calls"]
            message = f"only rules of {SYSTEM_NAMESPACE} can ask for {named[0]}: it costs every process of the nodes"
            hint = "docs/reference/event-types.md lists the event types that others can ask for"
        else:
            return True
        place = rule.condition.span(0, len(rule.condition.text))
        self._report.error(COMPILE_CONDITION, message, place, ("rule", rule.name), hint)
        return False

    def _warn_of_event_types(self, rule: RuleItem, types: frozenset[str]) -> None:
        """Adds a warning for a rule that has to test most event types."""
        assert rule.condition is not None
        known = EVENT_TYPES[source_of(rule)]
        count = len(types & known)
        if count > len(known) // 2:
            message = f"the condition can hold for {count} of {len(known)} event types, so most events are looked at"
            hint = "add a condition such as evt.type = openat, or warn_evttypes: false"
            place = rule.condition.span(0, len(rule.condition.text))
            self._report.warning("LOAD_NO_EVTTYPE", message, place, ("rule", rule.name), hint)

    def _exceptions(self, rule: RuleItem) -> list[ExceptionCondition] | None:
        """The conditions of the rule's exceptions; None if one of them has an error."""
        built = [exception_condition(item, self._lists.items, self._report) for item in rule.exceptions or ()]
        conditions = [condition for condition in built if condition is not None]
        return conditions if len(conditions) == len(built) else None

    def _condition(
        self, rule: RuleItem, parsed: ParsedCondition, exceptions: list[ExceptionCondition] | None
    ) -> Node | None:
        assert rule.condition is not None
        compiled = self._conditions.compile(parsed, rule.condition, ("rule", rule.name))
        diagnostics = list(compiled.diagnostics)
        unknown_field = compiled.unknown_field or any(
            self._conditions.macro(name).unknown_field for name in compiled.broken_macros
        )
        rows: list[Node] = []
        failed = compiled.node is None or exceptions is None
        for exception in exceptions or ():
            name = exception.exception.name
            checked = self._conditions.check(exception.expr, {})
            refers_to = find_references(exception.expr)
            broken = broken_lists(refers_to, self._lists, exception.text, ("exception", name))
            diagnostics += (
                *diagnosed(checked.problems, exception.text, ("exception", name), VALIDATE),
                *broken,
            )
            if checked.node is None or broken:
                failed = True
                unknown_field |= names_unknown_field(refers_to)
            elif not exception.empty:
                rows.append(checked.node)
        if unknown_field and rule.skip_if_unknown_filter:
            self._skip(rule, diagnostics, compiled.broken_macros)
            return None
        self._add(diagnostics)
        for name in compiled.broken_macros:
            self._left_out.setdefault(name, []).append(rule.name)
        if failed or compiled.node is None:
            return None
        # `not a and not b` instead of `not (a or b)`, so that the typed tree stays flat
        return And((compiled.node, *(Not(row) for row in rows))) if rows else compiled.node

    def _skip(self, rule: RuleItem, diagnostics: list[Diagnostic], broken_macros: frozenset[str]) -> None:
        """Reports the unknown fields for which a rule is skipped. They are warnings then, and not errors."""
        for name in sorted(broken_macros):
            diagnostics.extend(self._conditions.macro(name).diagnostics)
        for diagnostic in diagnostics:
            if diagnostic.severity is Severity.ERROR:
                message = f"{diagnostic.message}; the rule is skipped"
                self._report.add(
                    replace(
                        diagnostic,
                        severity=Severity.WARNING,
                        code="LOAD_UNKNOWN_FILTER",
                        message=message,
                        item_type="rule",
                        item_name=rule.name,
                    )
                )

    def _check_output(self, rule: RuleItem) -> bool:
        assert rule.output is not None
        item = ("rule", rule.name)
        try:
            output = compile_output(rule.output.text, self._report.suggester)
        except OutputError as error:
            place = rule.output.span(error.start, error.end)
            if error.unknown_field and rule.skip_if_unknown_filter:
                message = f"{error.message}; the rule is skipped"
                self._report.warning("LOAD_UNKNOWN_FILTER", message, place, item, error.hint)
            else:
                self._report.error(COMPILE_OUTPUT, error.message, place, item, error.hint)
            return False
        for remark in output.remarks:
            place = rule.output.span(remark.start, remark.end)
            self._report.warning(remark.code, remark.message, place, item, remark.hint)
        return True

    def _add(self, diagnostics: tuple[Diagnostic, ...] | list[Diagnostic]) -> None:
        for diagnostic in diagnostics:
            self._report.add(diagnostic)

    def _unused_macros(self) -> Iterator[str]:
        """Names of macros that have to be checked although no rule uses them.

        Macros of rules for other event sources are left out: such rules have other fields.
        """
        macros = self._conditions.macros
        waiting = list(self._of_other_sources)
        while waiting:
            if (name := waiting.pop()) in macros:
                new = {ref.name for ref in macros[name].refers_to.macros} - self._of_other_sources
                self._of_other_sources |= new
                waiting += new
        for name, macro in self._definitions.macros.items():
            wanted = macro.item.span.source.name in self._all_macros_of and name not in self._of_other_sources
            if wanted and not self._conditions.is_compiled(name):
                yield name

    def _report_macros(self, unused: Container[str]) -> None:
        """Reports each problem of a macro once, with the rules that are left out because of it."""
        for name, parsed in self._conditions.macros.items():
            used_by = self._left_out.get(name, [])
            consequence = f" (left out: {_enumerated(used_by)})" if used_by else ""
            for diagnostic in self._conditions.macro_diagnostics(name):
                if diagnostic.severity is Severity.WARNING:
                    self._report.add(diagnostic)
                elif used_by or name in unused or parsed.expr is None or not self._conditions.is_compiled(name):
                    message = diagnostic.message + consequence
                    self._report.add(replace(diagnostic, message=message, left_out=tuple(used_by)))

    def _report_unused(self) -> None:
        for name, macro in self._definitions.macros.items():
            if name not in self._used_macros:
                message = f"no rule or macro uses the macro {name}"
                self._report.warning("LOAD_UNUSED_MACRO", message, macro.item.span, ("macro", name))
        for name, items in self._definitions.lists.items():
            if name not in self._used_lists:
                message = f"no rule, macro or list uses the list {name}"
                self._report.warning("LOAD_UNUSED_LIST", message, items.item.span, ("list", name))


def _enumerated(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more rules"
