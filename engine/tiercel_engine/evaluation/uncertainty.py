"""Conditions on values that are known only in part, by Kleene's three-valued logic: true, false or undecided.

A rule matches if its condition isn't false. So that generated code can tell, the condition is rewritten: its upper
bound is true where the condition is true or undecided, its lower bound where it is true. ``not`` swaps the two. An
atom of a bound has in ``undecided`` what it counts as where the missing part would decide.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from tiercel_engine.condition import And, Atom, Constant, ListConstants, Node, Not, Operator, Or, Quantifier
from tiercel_engine.evaluation.operators import Test, compile_comparison, compile_test, lower, upper
from tiercel_engine.evaluation.transformers import FUNCTIONS, basename
from tiercel_engine.evaluation.walk import atom_fields, postorder
from tiercel_engine.fields import stages
from tiercel_engine.fields.model import FieldType, Multiplicity
from tiercel_engine.patterns import compile_glob, compile_path_prefixes
from tiercel_engine.regexes import REGEXES, Regexes
from tiercel_engine.uncertain import UNKNOWN, Beginning, Ending, Uncertain, Unknown, is_uncertain, last_component, like

Verdict = bool | None
"""Whether a comparison holds; None where the missing part decides."""


def bounds(conditions: Iterable[Node]) -> Iterator[tuple[Node, Node]]:
    """The lower and the upper bound of each condition. Parts in which nothing can be uncertain stay the same objects,
    and parts that conditions share are shared by their bounds."""
    done: dict[int, tuple[Node, Node]] = {}
    kept = []  # so that the identity of a node isn't another's while it counts
    for condition in conditions:
        kept.append(condition)
        for node in postorder(condition):
            if id(node) not in done:
                done[id(node)] = _bounds(node, done)
        yield done[id(condition)]


def _bounds(node: Node, done: dict[int, tuple[Node, Node]]) -> tuple[Node, Node]:
    match node:
        case Atom():
            if any(_may_be_uncertain(operand.field.name, operand.type) for operand in atom_fields(node)):
                return replace(node, undecided=False), replace(node, undecided=True)
            return node, node
        case Not(operand):
            low, high = done[id(operand)]
            return (node, node) if low is high is operand else (Not(high), Not(low))
        case And(operands) | Or(operands):
            both = [done[id(operand)] for operand in operands]
            if all(low is high for low, high in both):
                return node, node
            kind = type(node)
            return kind(tuple(low for low, _ in both)), kind(tuple(high for _, high in both))


def _may_be_uncertain(name: str, kind: FieldType) -> bool:
    return kind is FieldType.STRING and not name.startswith(stages.CERTAIN)


def compile_bounded_test(atom: Atom, regexes: Regexes = REGEXES) -> Test:
    """Like ``compile_test``, for an atom of a bound."""
    right = atom.right
    if not isinstance(right, ListConstants):
        return _bounded_test(atom, regexes)
    key = "bounded", atom.left.type, atom.left.multiplicity, atom.operator, atom.quantifier, atom.undecided, regexes
    test: Test | None = right.made.get(key)
    if test is None:
        test = right.made[key] = _bounded_test(atom, regexes)
    return test


def _bounded_test(atom: Atom, regexes: Regexes) -> Test:
    exact = compile_test(replace(atom, undecided=None), regexes)
    verdict = _verdict(atom, regexes)
    undecided = bool(atom.undecided)

    def test(value: Any) -> bool:
        if not is_uncertain(value):
            return exact(value)
        holds = verdict(value)
        return undecided if holds is None else holds

    return test


def compile_bounded_comparison(atom: Atom, regexes: Regexes = REGEXES) -> Callable[[Any, Any], bool]:
    """Like ``compile_comparison``, for an atom of a bound. Two texts are compared only if both are known."""
    exact = compile_comparison(replace(atom, undecided=None), regexes)
    undecided = bool(atom.undecided)
    return lambda left, right: undecided if is_uncertain(left) or is_uncertain(right) else exact(left, right)


def transform(name: str) -> Callable[..., Any]:
    """The function of a transformer, for operands that may be known only in part."""
    function = FUNCTIONS[name]
    partial = _OF_PARTS.get(name)

    def apply(*operands: Any) -> Any:
        if not any(map(is_uncertain, operands)):
            return function(*operands)
        return partial(operands[0]) if partial is not None and isinstance(operands[0], str) else UNKNOWN

    return apply


_OF_PARTS: dict[str, Callable[[str], str]] = {
    "tolower": lambda text: like(lower(text), text),
    "toupper": lambda text: like(upper(text), text),
    "basename": lambda text: last_component(text) if isinstance(text, Uncertain) else basename(text),
}


def _verdict(atom: Atom, regexes: Regexes) -> Callable[[Any], Verdict]:
    assert isinstance(atom.right, tuple)
    operator, quantifier = atom.operator, atom.quantifier
    exact = compile_test(replace(atom, undecided=None), regexes)
    member = _member_verdict(operator, atom.right, quantifier, regexes)
    if operator is Operator.NE and quantifier is None:
        equal = _member_verdict(Operator.EQ, atom.right, None, regexes)
        member = lambda value: _negated(equal(value))  # noqa: E731
    multiplicity = atom.left.multiplicity
    if multiplicity is Multiplicity.ONE:
        return member
    every = operator is Operator.NE or (operator is Operator.IN and multiplicity is Multiplicity.LIST)
    combine = _all if every else _any
    return lambda values: combine(member(value) if isinstance(value, Uncertain) else exact([value]) for value in values)


def _member_verdict(
    operator: Operator, constants: tuple[Constant, ...], quantifier: Quantifier | None, regexes: Regexes
) -> Callable[[Uncertain], Verdict]:
    if operator is Operator.EXISTS:
        return lambda value: None if isinstance(value, Unknown) else True
    if not constants:
        return lambda _value: False
    texts = tuple(constant for constant in constants if isinstance(constant, str))
    if len(texts) < len(constants):
        return lambda _value: None
    if quantifier is None or len(texts) == 1 or quantifier is Quantifier.ANY_OF:
        return _verdicts_of(operator, texts, regexes)
    single = [_verdicts_of(operator, (text,), regexes) for text in texts]
    if quantifier is Quantifier.ALL_OF:
        return lambda value: _all(verdict(value) for verdict in single)
    return lambda value: _one(verdict(value) for verdict in single)


def _verdicts_of(operator: Operator, texts: tuple[str, ...], regexes: Regexes) -> Callable[[Uncertain], Verdict]:
    """Whether the operator holds for one of the constants."""
    of_beginning, of_ending = _of_beginning(operator, texts, regexes), _of_ending(operator, texts, regexes)

    def verdict(value: Uncertain) -> Verdict:
        if isinstance(value, Beginning):
            return of_beginning(value)
        return of_ending(value) if isinstance(value, Ending) else None

    return verdict


def _of_beginning(operator: Operator, texts: tuple[str, ...], regexes: Regexes) -> Callable[[str], Verdict]:
    if operator is Operator.STARTSWITH:
        begins_one = _begins_one_of(texts)
        return lambda known: True if known.startswith(texts) else None if begins_one(known) else False
    if operator is Operator.PMATCH:
        return _under(texts, regexes)
    open_end = texts[0].endswith("*") and not texts[0].endswith("\\*")
    return _of_part(operator, texts, _begins_one_of, open_end, regexes)


def _of_ending(operator: Operator, texts: tuple[str, ...], regexes: Regexes) -> Callable[[str], Verdict]:
    if operator is Operator.ENDSWITH:
        ends_one = _ends_one_of(texts)
        return lambda known: True if known.endswith(texts) else None if ends_one(known) else False
    return _of_part(operator, texts, _ends_one_of, texts[0].startswith("*"), regexes)


def _of_part(
    operator: Operator,
    texts: tuple[str, ...],
    fits_one_of: Callable[[tuple[str, ...]], Callable[[str], bool]],
    open_end: bool,
    regexes: Regexes,
) -> Callable[[str], Verdict]:
    """``fits_one_of`` says whether the known part can be that of one of some texts; ``open_end``: a glob takes anything
    in place of the missing part."""
    match operator:
        case Operator.EQ | Operator.IN | Operator.INTERSECTS:
            fits = fits_one_of(texts)
            return lambda known: None if fits(known) else False
        case Operator.NE:
            each = [fits_one_of((text,)) for text in texts]
            return lambda known: _any(None if fits(known) else True for fits in each)
        case Operator.GLOB | Operator.IGLOB if open_end:
            matches = compile_glob(texts[0], ignore_case=operator is Operator.IGLOB, regexes=regexes)
            return lambda known: True if matches(known) else None
    return _contained(operator, texts)


def _contained(operator: Operator, texts: tuple[str, ...]) -> Callable[[str], Verdict]:
    """The verdict for what the known part may have: undecided, unless the part has the text itself."""
    if operator is Operator.CONTAINS:
        return lambda known: True if any(text in known for text in texts) else None
    if operator is Operator.ICONTAINS:
        folded = tuple(map(lower, texts))
        return lambda known: True if any(text in lower(known) for text in folded) else None
    return lambda _known: None


def _under(texts: tuple[str, ...], regexes: Regexes) -> Callable[[str], Verdict]:
    """``pmatch``: all components of the known part but the last are whole."""
    covers = compile_path_prefixes(texts, regexes=regexes)
    has_globs = any(character in text for text in texts for character in "*?[")
    begins_one = _begins_one_of(tuple(map(_components, texts)))

    def verdict(known: str) -> Verdict:
        if covers(known.rpartition("/")[0]):
            return True
        return None if has_globs or begins_one(_components(known)) else False

    return verdict


def _components(path: str) -> str:
    """The path without slashes that make no difference to ``pmatch``."""
    return "/".join(filter(None, path.split("/")))


def _begins_one_of(texts: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a text is the beginning of one of these, which may be ten thousand."""
    ordered = sorted(texts)

    def begins(known: str) -> bool:
        at = bisect_left(ordered, known)
        return at < len(ordered) and ordered[at].startswith(known)

    return begins


def _ends_one_of(texts: tuple[str, ...]) -> Callable[[str], bool]:
    begins = _begins_one_of(tuple(text[::-1] for text in texts))
    return lambda known: begins(known[::-1])


def _negated(verdict: Verdict) -> Verdict:
    return None if verdict is None else not verdict


def _any(verdicts: Iterable[Verdict]) -> Verdict:
    undecided = False
    for verdict in verdicts:
        if verdict:
            return True
        undecided = undecided or verdict is None
    return None if undecided else False


def _all(verdicts: Iterable[Verdict]) -> Verdict:
    return _negated(_any(map(_negated, verdicts)))


def _one(verdicts: Iterable[Verdict]) -> Verdict:
    each = list(verdicts)
    if each.count(True) > 1:
        return False
    return None if None in each else each.count(True) == 1
