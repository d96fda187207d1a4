"""Resolves the rules in the SecurityRules of a cluster, namespace by namespace.

Lists and macros of the system namespace can be used everywhere. Those of another namespace can be used in that
namespace only, where they take the place of the system's lists and macros of the same name. So the objects of one
namespace never change the meaning of rules in another. Within a namespace, objects are read in the order of their
names, like the files of a folder.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, replace
from typing import Any

import orjson
import yaml

from tiercel_engine.api_group import API_VERSION
from tiercel_engine.diagnostics import Diagnostic, Location, Severity
from tiercel_engine.language.withheld import Withheld
from tiercel_engine.located import located
from tiercel_engine.nesting import too_deep
from tiercel_engine.rule import Origin, Rule
from tiercel_engine.rules.compiler import RuleCompiler
from tiercel_engine.rules.definitions import collect_definitions
from tiercel_engine.rules.documents.decoding import VALIDATE
from tiercel_engine.rules.documents.document import Mapping, compose
from tiercel_engine.rules.documents.items import Broken, Define, RuleItem, Statement, kind_of
from tiercel_engine.rules.documents.reader import MANIFEST_KIND, read_statements
from tiercel_engine.rules.documents.report import Report
from tiercel_engine.rules.documents.selector import read_scope
from tiercel_engine.rules.documents.source_file import SourceFile, Span
from tiercel_engine.scope import SYSTEM_NAMESPACE, Scope

try:
    from yaml import CSafeDumper as _Dumper
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeDumper as _Dumper  # type: ignore[assignment]

_UNFOLDED = 1 << 20
_MOST_FAILING = 8
"""Objects of a namespace that are looked for one by one if errors that nobody foresaw come of them."""


@dataclass(frozen=True, slots=True)
class RuleObject:
    """A SecurityRule object. ``spec`` is its spec as JSON values."""

    namespace: str
    name: str
    spec: MappingOf[str, Any]

    @property
    def origin(self) -> Origin:
        """What its rules have as their origin."""
        return Origin(self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class ResolvedObject:
    """The result for one object: its good rules, including disabled ones, and its errors and warnings."""

    rules: tuple[Rule, ...] = ()
    errors: tuple[Diagnostic, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    failed: bool = False
    """Whether an error that nobody foresaw came of it, so that nobody should be given it."""
    withheld: Withheld | None = None
    """What its rules have of the system's macros and lists, whose content isn't for its namespace."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The results for all objects."""

    objects: MappingOf[Origin, ResolvedObject]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The good rules of all objects."""
        return tuple(rule for resolved in self.objects.values() for rule in resolved.rules)


_Results = MappingOf[Origin, ResolvedObject]


def resolve(objects: Iterable[RuleObject]) -> Resolved:
    """The rules of all objects. A wrong object does not affect others. Raises nothing, whatever the specs contain."""
    return Resolver().resolve(objects)


@dataclass(frozen=True, slots=True)
class _Known:
    """A namespace as it was resolved last. ``shared`` is what its rules could use of the system's, or what others can
    use of it."""

    digest: bytes
    shared: Sequence[Statement]
    results: _Results


class Resolver:
    """Resolves objects repeatedly. Only namespaces that are affected by a change are resolved again; the rules of the
    others are the same objects as before."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._system: _Known | None = None

    def resolve(self, objects: Iterable[RuleObject]) -> Resolved:
        """The same as the function ``resolve``."""
        by_namespace: dict[str, list[RuleObject]] = {}
        for rule_object in sorted(objects, key=lambda each: (each.namespace, each.name)):
            by_namespace.setdefault(rule_object.namespace, []).append(rule_object)
        members = by_namespace.pop(SYSTEM_NAMESPACE, [])
        digest, system = _digest(members), self._system
        if system is None or not digest or system.digest != digest:
            statements, results = _isolated(members, ())
            system = self._system = _Known(digest, tuple(each for each in statements if not _is_rule(each)), results)
        known: dict[str, _Known] = {}
        for namespace, members in by_namespace.items():
            digest, before = _digest(members), self._known.get(namespace)
            if before is None or not digest or before.digest != digest or before.shared is not system.shared:
                before = _Known(digest, system.shared, _isolated(members, system.shared)[1])
            known[namespace] = before
        self._known = known
        resolved = dict(system.results)
        for each in known.values():
            resolved |= each.results
        return Resolved(resolved)


def _digest(objects: Iterable[RuleObject]) -> bytes:
    """Of all that objects have; empty if they can't be told apart from others, since they can't be JSON."""
    digest = hashlib.sha256()
    try:
        for each in objects:
            digest.update(orjson.dumps([each.name, each.spec]))
    except TypeError:
        return b""
    return digest.digest()


def same(some: Sequence[RuleObject], others: Sequence[RuleObject]) -> bool:
    """Whether these are the same objects by identity: objects are never changed in place."""
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def _isolated(objects: Sequence[RuleObject], shared: Sequence[Statement]) -> tuple[Sequence[Statement], _Results]:
    """The statements and the results of one namespace's objects.

    What nobody foresaw, such as a limit of Python's that one object exceeds, is an error of that object, and the others
    are resolved without it.
    """

    def resolved(members: Sequence[RuleObject]) -> tuple[Sequence[Statement], _Results]:
        read = _Read.of(members)
        return read.statements, read.resolve(shared)

    def fails(count: int) -> bool:
        try:
            resolved(good[:count])
        except Exception:
            return True
        return False

    good = list(objects)
    failed: dict[Origin, ResolvedObject] = {}
    while True:
        try:
            statements, results = resolved(good)
        except Exception as error:
            if not good:
                raise
            if len(failed) < _MOST_FAILING:  # the first whose presence makes it fail
                bad = [good.pop(bisect_left(range(1, len(good)), True, key=fails))]
            else:
                bad, good = good, []
            failed |= {each.origin: _failure(each, error) for each in bad}
        else:
            return statements, {**results, **failed}


def _failure(rule_object: RuleObject, error: Exception) -> ResolvedObject:
    message = f"the object can't be handled: {located(error)} (change it, and please report this)"
    place = Location(f"{rule_object.namespace}/{rule_object.name}", 1, 1)
    return ResolvedObject(errors=(Diagnostic(Severity.ERROR, VALIDATE, message, place),), failed=True)


def object_text(rule_object: RuleObject) -> str:
    """The object as the text of a manifest.

    Raises yaml.YAMLError, RecursionError or UnicodeError if its spec cannot be written as YAML.
    """
    document = {
        "apiVersion": API_VERSION,
        "kind": MANIFEST_KIND,
        "metadata": {"name": rule_object.name, "namespace": rule_object.namespace},
        "spec": dict(rule_object.spec),
    }
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=_UNFOLDED, allow_unicode=False)


def scope_of(rule_object: RuleObject) -> Scope:
    """The scope of an object's rules. A selector that cannot be read gives an empty ``Scope``.

    It is an error of the object, which ``resolve`` reports.
    """
    alone = RuleObject(rule_object.namespace, rule_object.name, {"selector": rule_object.spec.get("selector")})
    try:
        (document,) = compose(object_text(alone))
        assert isinstance(document, Mapping)
        metadata, spec = document.get("metadata"), document.get("spec")
        return read_scope(metadata, spec.get("selector") if isinstance(spec, Mapping) else None) or Scope()
    except Exception:  # whatever it is: resolve tells it
        return Scope()


@dataclass(frozen=True, slots=True)
class _Read:
    """The statements of the objects of one namespace. No two of them define the same name."""

    origins: MappingOf[str, Origin]
    """The origin of each object, by the file name that its text has in diagnostics."""
    statements: Sequence[Statement]
    report: Report

    @classmethod
    def of(cls, objects: Iterable[RuleObject]) -> _Read:
        origins = {f"{rule_object.namespace}/{rule_object.name}": rule_object for rule_object in objects}
        report = Report(origins)
        statements: list[Statement] = []
        defined: dict[tuple[str, str], str] = {}
        for name, rule_object in origins.items():
            source = SourceFile(name, _readable(rule_object, report))
            own: dict[tuple[str, str], str] = {}
            for statement in read_statements(source, report):
                if isinstance(statement, Define):
                    item = kind_of(statement.item), statement.item.name
                    if item in defined:
                        message = f"{MANIFEST_KIND} {defined[item]} has a {item[0]} of this name already"
                        report.error(VALIDATE, message, statement.item.span, item, "give it another name")
                        continue
                    own[item] = name
                statements.append(statement)
            defined |= own
        return cls({name: rule_object.origin for name, rule_object in origins.items()}, statements, report)

    def resolve(self, shared: Sequence[Statement]) -> dict[Origin, ResolvedObject]:
        """The result for each object. Its rules may use the lists and macros of ``shared``.

        Macros that no rule uses are checked too, because rules of other namespaces, and later ones, rely on them.
        """
        compiler = RuleCompiler(
            collect_definitions((*shared, *self.statements), self.report),
            self.report,
            self.origins,
            usual_types=any(origin.namespace != SYSTEM_NAMESPACE for origin in self.origins.values()),
        )
        rules = compiler.rules()
        self._report_rules_broken_elsewhere(rules)
        return {
            origin: ResolvedObject(
                tuple(replace(rule, origin=origin) for rule in rules if rule.location.file == name),
                tuple(_of(name, self.report.errors)),
                tuple(_of(name, self.report.warnings)),
                withheld=compiler.withheld,
            )
            for name, origin in self.origins.items()
        }

    def _report_rules_broken_elsewhere(self, rules: Iterable[Rule]) -> None:
        """Reports each rule that is left out because of an error elsewhere, such as in a macro of another object."""
        loaded = {rule.name for rule in rules}
        named = {
            (diagnostic.item_type, diagnostic.item_name) for diagnostic in (*self.report.errors, *self.report.warnings)
        }
        for statement in self.statements:
            if isinstance(statement, Define) and isinstance(statement.item, RuleItem):
                item = statement.item
                if item.name not in loaded and ("rule", item.name) not in named:
                    message = f"a macro or list that the rule uses has an error{self._elsewhere(item.name)}"
                    self.report.error(VALIDATE, message, item.span, ("rule", item.name))

    def _elsewhere(self, rule: str) -> str:
        """The error of another object's macro or list that leaves this rule out; ``""`` if none names the rule. Of a
        macro or list of another namespace only the name is told."""
        for diagnostic in self.report.errors:
            if rule in diagnostic.left_out:
                file = diagnostic.location.file
                if file not in self.origins:
                    return f": {diagnostic.item_type} {diagnostic.item_name} of {SYSTEM_NAMESPACE}"
                return f": {one_line(diagnostic)}, in {file}"
        return ""


def _readable(rule_object: RuleObject, report: Report) -> str:
    """The text of the object; "" after an error if it is nested too deeply or cannot be written as YAML."""
    wrong = too_deep({"spec": rule_object.spec})
    try:
        if not wrong:
            return object_text(rule_object)
    except (yaml.YAMLError, RecursionError, UnicodeError) as error:
        wrong = f"the object can't be read: {type(error).__name__}"
    report.error(VALIDATE, wrong, Span(SourceFile(f"{rule_object.namespace}/{rule_object.name}", ""), 0, 0))
    return ""


def _is_rule(statement: Statement) -> bool:
    return statement.kind == "rule" if isinstance(statement, Broken) else isinstance(statement.item, RuleItem)


def _of(name: str, diagnostics: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    return (diagnostic for diagnostic in diagnostics if diagnostic.location.file == name)


def one_line(diagnostic: Diagnostic) -> str:
    """A diagnostic of an object in one line, for a condition of its status.

    It has no line and column, because users have not seen the text that these refer to.
    """
    item = f"{diagnostic.item_type} {diagnostic.item_name}: " if diagnostic.item_name else ""
    hint = f" ({diagnostic.hint})" if diagnostic.hint else ""
    return f"{item}{diagnostic.message}{hint}"


def refusal(errors: Sequence[Diagnostic]) -> str:
    """The errors of an object for the user who applies it, each with the line that it is about and the place in it."""
    return "\n".join(_excerpt(diagnostic) for diagnostic in errors if diagnostic.severity is Severity.ERROR)


def _excerpt(diagnostic: Diagnostic) -> str:
    line = diagnostic.source_line
    text = line.lstrip(" -")
    column = diagnostic.location.column - (len(line) - len(text))
    if not text or column < 1:
        return one_line(diagnostic)
    return f"{one_line(diagnostic)}\n    {text}\n    {' ' * (column - 1)}{'^' + '~' * (diagnostic.width - 1)}"
