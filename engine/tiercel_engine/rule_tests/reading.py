"""Reads the tests in ``spec.tests`` of manifests, and reports everything that does not have the right form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as MappingOf
from math import isfinite

import yaml

from tiercel_engine.api_group import API_VERSION
from tiercel_engine.condition import Node
from tiercel_engine.event import Event, Value
from tiercel_engine.event_types import EVENT_TYPES, OBSERVABLE
from tiercel_engine.replay import Malformed, read_events
from tiercel_engine.rule_tests.model import RuleTest, RuleTests, Suite
from tiercel_engine.rules.definitions import DEFAULT_SOURCE
from tiercel_engine.rules.documents import decoding
from tiercel_engine.rules.documents.decoding import VALIDATE, YAML_VALIDATE, DecodeError, kind_word, span
from tiercel_engine.rules.documents.document import Mapping, Scalar, YamlError, YamlNode, compose, repeated_keys
from tiercel_engine.rules.documents.document import Sequence as SequenceNode
from tiercel_engine.rules.documents.files import RulesFile
from tiercel_engine.rules.documents.reader import MANIFEST_KIND
from tiercel_engine.rules.documents.report import Report
from tiercel_engine.rules.documents.selector import read_scope
from tiercel_engine.rules.documents.source_file import SourceFile, Span
from tiercel_engine.rules.objects import RuleObject, object_text

MAX_TESTS = 200
"""The most tests of one manifest."""
MAX_NAME = 200
"""The most characters of a test's name."""
MAX_FIELDS = 500
"""The most fields of an event."""
MAX_EVENT = 1 << 16
"""The most characters of an event's fields and values."""

_KEYS = ("name", "event", "expect")
_NONE = "none"
_LONGEST_NUMBER = 100
_EXPECT_HINT = "write expect: [name of a rule], or expect: none"


def read_tests(files: Sequence[RulesFile]) -> RuleTests:
    """The tests of all manifests in the files. Raises nothing, whatever the files contain.

    Other errors of the files are not reported here: ``load`` reports them.
    """
    report = Report(file.name for file in files)
    fields = _Fields()
    suites, untested = [], []
    for file in files:
        source = SourceFile(file.name, file.text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}"))
        try:
            documents = compose(source.text)
        except YamlError:
            documents = ()
        tested = False
        for metadata, body in _manifests(documents):
            tests = body.get("tests")
            if tests is not None and not _is_nothing(tests):
                tested = True
                suites.append(_SuiteReader(source, report, fields, _rule_names(body)).suite(metadata, body, tests))
        if not tested:
            untested.append(file.name)
    return RuleTests(tuple(suites), report.errors, tuple(untested))


def tests_of(rule_object: RuleObject) -> RuleTests:
    """The tests of a SecurityRule object. The places of errors refer to the text of ``object_text``."""
    file = f"{rule_object.namespace}/{rule_object.name}"
    try:
        text = object_text(rule_object)
    except (yaml.YAMLError, RecursionError, UnicodeError) as error:
        report = Report()
        place = Span(SourceFile(file, ""), 0, 0)
        report.error(VALIDATE, f"the object can't be read: {type(error).__name__}", place, ("test", ""))
        return RuleTests((), report.errors)
    return read_tests([RulesFile(file, text)])


def _manifests(documents: Iterable[YamlNode]) -> Iterable[tuple[YamlNode | None, Mapping]]:
    """``metadata`` and ``spec`` of those documents that are SecurityRules with a list of rules."""
    for document in documents:
        if isinstance(document, Mapping) and (
            _is_text(document.get("kind"), MANIFEST_KIND) and _is_text(document.get("apiVersion"), API_VERSION)
        ):
            body = document.get("spec")
            if isinstance(body, Mapping) and isinstance(body.get("rules"), SequenceNode):
                yield document.get("metadata"), body


def _is_text(node: YamlNode | None, text: str) -> bool:
    return isinstance(node, Scalar) and node.value == text


def _rule_names(body: Mapping) -> dict[str, None]:
    """The names of the rules that a manifest defines or changes, in their order."""
    rules = body.get("rules")
    assert isinstance(rules, SequenceNode)
    names = (item.get("rule") for item in rules.items if isinstance(item, Mapping))
    return dict.fromkeys(name.value for name in names if isinstance(name, Scalar))


class _Fields:
    """Checks the fields of events one by one, in the same way as those of recorded events."""

    def __init__(self) -> None:
        self._lines: list[bytes | None] = []
        self._read = read_events(iter(self._lines.pop, None), "")

    def value(self, key: str, given: object) -> Value | None:
        """The value that an event has for a field. Raises ``_FieldError``."""
        self._lines.append(json.dumps({"source": DEFAULT_SOURCE, "time": 0, "fields": {key: given}}).encode())
        event = next(self._read)
        if isinstance(event, Malformed):
            raise _FieldError(event)
        return None if given == [] else event[key]


class _FieldError(Exception):
    """A field that no event can have; ``malformed`` says why."""

    def __init__(self, malformed: Malformed) -> None:
        super().__init__(malformed.message)
        self.malformed = malformed


class _SuiteReader:
    """Reads the tests of one manifest; errors go to ``report``."""

    def __init__(self, source: SourceFile, report: Report, fields: _Fields, rules: MappingOf[str, None]) -> None:
        self._source = source
        self._report = report
        self._fields = fields
        self._rules = rules
        self._item = ("test", "")
        self._failed = False

    def suite(self, metadata: YamlNode | None, body: Mapping, tests: YamlNode) -> Suite:
        return Suite(tuple(self._rules), _scope(metadata, body.get("selector")), tuple(self._tests(tests)))

    def _tests(self, node: YamlNode) -> Iterable[RuleTest]:
        if not isinstance(node, SequenceNode):
            self._error(DecodeError(f"spec.tests must be a list, not {kind_word(node)}", node))
            return
        seen: set[str] = set()
        for number, item in enumerate(node.items):
            self._item, self._failed = ("test", ""), False
            if number == MAX_TESTS:
                self._error(DecodeError(f"a manifest can have {MAX_TESTS} tests at most; the rest is left out", item))
                return
            try:
                test = self._test(item, seen)
            except DecodeError as error:
                self._error(error)
                continue
            if not self._failed:
                yield test

    def _test(self, node: YamlNode, seen: set[str]) -> RuleTest:
        """Reads a test. Raises DecodeError; other errors are reported, so that further ones are found too."""
        if not isinstance(node, Mapping):
            raise DecodeError(f"a test must be a mapping, not {kind_word(node)}", node, f"with {', '.join(_KEYS)}")
        name_node = node.get("name")
        if name_node is None:
            raise DecodeError("the test has no name", node, "add name: …")
        name = self._name(name_node, seen)
        for key in repeated_keys(node):
            self._error(DecodeError(f"the key {key.value[:40]} is there twice", key, "remove one"))
        for key, _ in node.entries:
            if key.value not in _KEYS:
                hint = self._report.similar(key.value, _KEYS) or f"one of {', '.join(_KEYS)}"
                self._error(DecodeError(f"a test has no {key.value[:40]!r}", key, hint))
        event, expect = node.get("event"), node.get("expect")
        if event is None:
            self._error(DecodeError("the test has no event", name_node, "add event: {evt.type: …}"))
        if expect is None:
            self._error(DecodeError("the test doesn't say what to expect", name_node, _EXPECT_HINT))
        test_event = self._event(event) if event is not None else Event(DEFAULT_SOURCE, 0)
        expected = self._expect(expect) if expect is not None else ()
        return RuleTest(name, test_event, expected, self._source.location(name_node.start))

    def _name(self, node: YamlNode, seen: set[str]) -> str:
        name = decoding.scalar(node, "name").value
        if _is_nothing(node) or not name.strip():
            raise DecodeError("the test has no name", node, "write name: what it shows")
        self._item = ("test", name[:MAX_NAME])
        if len(name) > MAX_NAME:
            raise DecodeError(f"the name of a test can have {MAX_NAME} characters at most", node)
        if name in seen:
            raise DecodeError("the manifest has another test of this name", node, "give it another name")
        seen.add(name)
        return name

    def _event(self, node: YamlNode) -> Event:
        if not isinstance(node, Mapping):
            raise DecodeError(f"event must be a mapping, not {kind_word(node)}", node, "event: {evt.type: execve, …}")
        if len(node.entries) > MAX_FIELDS:
            raise DecodeError(f"an event can have {MAX_FIELDS} fields at most", node)
        if _size(node) > MAX_EVENT:
            raise DecodeError(f"the event is larger than {MAX_EVENT} characters", node)
        event = Event(DEFAULT_SOURCE, 0)
        for key, value in node.entries:
            if key.value == "source":
                event.source = self._source_name(value)
                continue
            given = _json(value)
            try:
                event[key.value] = self._fields.value(key.value, given)
            except _FieldError as error:
                self._field_error(key, value, given, error.malformed)
        event_type = event["evt.type"]
        types = OBSERVABLE.get(event.source)
        if isinstance(event_type, str) and types is not None and event_type not in types:
            hint = self._report.similar(event_type, sorted(types))
            place = node.get("evt.type") or node
            self._error(DecodeError(f"there is no event of the type {event_type[:40]}", place, hint), VALIDATE)
        return event

    def _source_name(self, node: YamlNode) -> str:
        name = decoding.scalar(node, "source").value
        if name not in EVENT_TYPES:
            raise DecodeError(f"there is no source {name[:40]}", node, f"one of {', '.join(EVENT_TYPES)}")
        return name

    def _field_error(self, key: Scalar, value: YamlNode, given: object, error: Malformed) -> None:
        hint = error.hint
        if error.expected is str and isinstance(value, Scalar) and not isinstance(given, str):
            hint = f'put it in quotes: "{value.value}"'
        place = key if error.expected is None else value
        self._error(DecodeError(f"{key.value[:100]} {error.message}", place, hint))

    def _expect(self, node: YamlNode) -> tuple[str, ...]:
        if _is_text(node, _NONE):
            return ()
        if not isinstance(node, SequenceNode):
            what = node.value[:100] if isinstance(node, Scalar) and not node.is_null else kind_word(node)
            raise DecodeError(f"expect must be a list of rules' names or none, not {what}", node, _EXPECT_HINT)
        names = decoding.strings(node, "expect")
        for name, entry in zip(names, node.items, strict=True):
            if name not in self._rules:
                hint = "write expect: none" if name == _NONE else self._report.similar(name, self._rules)
                self._error(DecodeError(f"the manifest has no rule {name[:100]}", entry, hint), VALIDATE)
        return tuple(dict.fromkeys(names))

    def _error(self, error: DecodeError, code: str = YAML_VALIDATE) -> None:
        self._failed = True
        self._report.error(code, error.message, span(self._source, error.node), self._item, error.hint)


def _scope(metadata: YamlNode | None, selector: YamlNode | None) -> Node | None:
    """The condition of a manifest's scope, None for everything and for a wrong selector (then no rule is loaded)."""
    try:
        scope = read_scope(metadata, selector)
    except DecodeError:
        return None
    return scope.condition if scope is not None else None


def _size(node: YamlNode) -> int:
    """The number of characters of all texts in a node; each scalar counts as one more."""
    match node:
        case Scalar(value):
            return len(value) + 1
        case SequenceNode(items):
            return sum(map(_size, items))
        case Mapping(entries):
            return sum(len(key.value) + _size(value) for key, value in entries)


def _json(node: YamlNode) -> object:
    """The JSON value of a node, as the API server receives it."""
    match node:
        case Scalar(value, style):
            return value if style else _plain(value)
        case SequenceNode(items):
            return [_json(item) for item in items]
        case Mapping():
            return {}


_RESOLVER = yaml.resolver.Resolver()
_TYPES = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float")}


def _plain(value: str) -> object:
    """The value of a scalar without quotes: a number, true, false or null if it looks like one, else a text."""
    tag = _RESOLVER.resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]
    if tag not in _TYPES or len(value) > _LONGEST_NUMBER:
        return value
    try:
        resolved: object = yaml.constructor.SafeConstructor().construct_object(yaml.ScalarNode(tag, value))
    except (ValueError, OverflowError):
        return value
    return value if isinstance(resolved, float) and not isfinite(resolved) else resolved


def _is_nothing(node: YamlNode) -> bool:
    return isinstance(node, Scalar) and node.is_null
