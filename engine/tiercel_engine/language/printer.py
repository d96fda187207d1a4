"""Prints a tree as the text of a condition, which can be parsed again."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from tiercel_engine import condition
from tiercel_engine.condition import Operator
from tiercel_engine.fields import Multiplicity
from tiercel_engine.language import syntax
from tiercel_engine.language.lexer import is_bare_argument, is_bare_value
from tiercel_engine.language.operators import SET
from tiercel_engine.language.withheld import Withheld

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}

_Piece = str | syntax.Expr | condition.Node


def print_condition(expr: syntax.Expr) -> str:
    """The canonical text of an untyped tree: ``parse(print_condition(expr)) == expr``."""
    return _joined(expr)


def print_node(node: condition.Node, withheld: Withheld | None = None) -> str:
    """The text of a typed condition, with its macros and lists written out, but for what is withheld.

    Its length depends on the expanded size of the condition: a macro that is used twice is printed twice.
    """
    return _joined(node, withheld)


def quoted(text: str) -> str:
    """``text`` as a value in quotes. Characters that are not printable are escaped."""
    return '"' + "".join([_ESCAPES.get(c) or (c if c.isprintable() else _bytes_of(c)) for c in text]) + '"'


def _bytes_of(character: str) -> str:
    return "".join([f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape")])


def _joined(root: syntax.Expr | condition.Node, withheld: Withheld | None = None) -> str:
    """The text of a tree of any depth, without recursion."""
    done: list[str] = []
    todo: list[_Piece] = [root]
    while todo:
        piece = todo.pop()
        if isinstance(piece, str):
            done.append(piece)
            continue
        shown = withheld.shown(piece) if withheld is not None and isinstance(piece, condition.Node) else None
        if shown is not None:
            todo.append(shown)
            continue
        match piece:
            case syntax.And(operands) | condition.And(operands):
                inner = _parted(operands, " and ", (syntax.And, syntax.Or, condition.And, condition.Or))
            case syntax.Or(operands) | condition.Or(operands):
                inner = _parted(operands, " or ", (syntax.Or, condition.Or))
            case syntax.Not(operand) | condition.Not(operand):
                compound = (syntax.And, syntax.Or, syntax.Not, condition.And, condition.Or, condition.Not)
                inner = ["not ", *_parted((operand,), "", compound)]
            case syntax.MacroName():
                inner = [piece.name]
            case syntax.Check():
                inner = [_check(piece)]
            case condition.Atom():
                inner = [_atom(piece)]
        todo.extend(reversed(inner))
    return "".join(done)


def _parted(
    operands: Sequence[syntax.Expr | condition.Node], separator: str, compound: tuple[type, ...]
) -> list[_Piece]:
    pieces: list[_Piece] = []
    for operand in operands:
        if pieces:
            pieces.append(separator)
        pieces.extend(("(", operand, ")") if isinstance(operand, compound) else (operand,))
    return pieces


# Untyped


def _check(check: syntax.Check) -> str:
    parts = [_operand(check.left), check.operator.value]
    if check.quantifier is not None:
        parts.append(check.quantifier.value)
    if check.right is not None:
        parts.append(_operand(check.right))
    return " ".join(parts)


def _operand(operand: syntax.Left | syntax.Right | syntax.ArgumentList) -> str:
    match operand:
        case syntax.Word(text, is_quoted):
            return quoted(text) if is_quoted or not is_bare_value(text) else text
        case syntax.WordList(words):
            return f"({', '.join([_operand(word) for word in words])})"
        case syntax.ArgumentList(items):
            return f"({', '.join([_operand(item) for item in items])})"
        case syntax.FieldRef(name, argument):
            return name + _bracketed(argument)
        case syntax.ValueOf(field):
            return f"val({_operand(field)})"
        case syntax.Call(name, arguments, selector):
            return f"{name}({', '.join([_operand(argument) for argument in arguments])}){_bracketed(selector)}"


def _bracketed(argument: str | None) -> str:
    if argument is None:
        return ""
    return f"[{argument if is_bare_argument(argument) else quoted(argument)}]"


# Typed


def _atom(atom: condition.Atom) -> str:
    parts = [_typed_operand(atom.left), atom.operator.value]
    if atom.quantifier is not None:
        parts.append(atom.quantifier.value)
    if not isinstance(atom.right, tuple):
        right = _typed_operand(atom.right)
        parts.append(f"val({right})" if isinstance(atom.right, condition.FieldOperand) else right)
    elif atom.operator is not Operator.EXISTS:
        as_hex = atom.operator in (Operator.BCONTAINS, Operator.BSTARTSWITH)
        constants = [c.hex() if as_hex and isinstance(c, bytes) else _constant(c) for c in atom.right]
        many = atom.operator in SET or atom.quantifier is not None
        parts.append(f"({', '.join(constants)})" if many else constants[0])
    return " ".join(parts)


def _typed_operand(operand: condition.Operand) -> str:
    match operand:
        case condition.FieldOperand(field, argument):
            return field.name + _bracketed(argument)
        case condition.Literal(value):
            return _constant(value)
        case condition.Transformed("join", (separator, *items)) if all(
            i.multiplicity is Multiplicity.ONE for i in items
        ):
            return f"join({_typed_operand(separator)}, ({', '.join([_typed_operand(item) for item in items])}))"
        case condition.Transformed("getopt", (words, options, condition.Literal(str(letter)))):
            return f"getopt({_typed_operand(words)}, {_typed_operand(options)}){_bracketed(letter)}"
        case condition.Transformed(name, operands):
            return f"{name}({', '.join([_typed_operand(inner) for inner in operands])})"


def _constant(value: condition.Constant) -> str:
    match value:
        case bool():
            return str(value).lower()
        case bytes():
            return quoted(value.decode("utf-8", "surrogateescape"))
        case str():
            return quoted(value)
        case int() | float():
            return str(value)
        case IPv4Address() | IPv6Address() | IPv4Network() | IPv6Network():
            return str(value)
