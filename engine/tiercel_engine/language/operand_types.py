"""Finds the types of operands: of fields and transformers, with their arguments."""

from __future__ import annotations

from tiercel_engine import fields
from tiercel_engine.condition import FieldOperand, Literal, Operand, Operator, Transformed
from tiercel_engine.fields import Argument, ArgumentKind, FieldType, Multiplicity
from tiercel_engine.language import operators
from tiercel_engine.language.errors import ConditionError
from tiercel_engine.language.lexer import shown
from tiercel_engine.language.syntax import ArgumentList, Call, FieldRef, Word
from tiercel_engine.patterns import compile_glob
from tiercel_engine.regexes import PatternError, Regexes

LARGEST_INDEX = 999_999
MAX_OPERANDS = 200
"""The most operands of one transformer."""

_TEXT = frozenset({FieldType.STRING, FieldType.FLAGS})
_KIND = {
    FieldType.STRING: "text",
    FieldType.FLAGS: "text",
    FieldType.INTEGER: "a number",
    FieldType.FLOAT: "a number",
    FieldType.PORT: "a number",
    FieldType.TIME: "a number",
    FieldType.DURATION: "a number",
    FieldType.BOOLEAN: "true or false",
    FieldType.BYTES: "bytes",
    FieldType.ADDRESS: "an address",
    FieldType.NETWORK: "an address",
}

_EQUALITY = frozenset({Operator.EQ, Operator.NE, Operator.IN, Operator.INTERSECTS, Operator.EXISTS})
_NUMERIC = _EQUALITY | operators.NUMERIC
_ON_BYTES = frozenset({Operator.BCONTAINS, Operator.BSTARTSWITH})
_BYTES = _EQUALITY | _ON_BYTES | {Operator.CONTAINS, Operator.STARTSWITH, Operator.ENDSWITH}
_LIST = frozenset({Operator.IN, Operator.INTERSECTS, Operator.EXISTS})


class UnknownField(ConditionError):
    """The registry has no field ``name``. The hint is added where the error is reported, by ``Suggester.field``."""

    def __init__(self, name: str, start: int, end: int) -> None:
        super().__init__(f"there is no field {shown(name)}", start, end)
        self.name = name


def kind(type_: FieldType) -> str:
    """What values of a type are called in messages. Types of the same kind can be compared with each other."""
    return _KIND[type_]


def operators_for(operand: FieldOperand | Transformed) -> frozenset[Operator]:
    """The operators that may follow an operand (in Falco: libsinsp, filter_compare.cpp)."""
    if operand.multiplicity is Multiplicity.LIST:
        return _LIST
    match operand.type:
        case FieldType.STRING | FieldType.FLAGS:
            return frozenset(Operator) - _ON_BYTES
        case FieldType.BYTES:
            return _BYTES
        case FieldType.BOOLEAN | FieldType.ADDRESS | FieldType.NETWORK:
            return _EQUALITY
        case _:
            return _NUMERIC


def field_operand(ref: FieldRef) -> FieldOperand:
    """The field that ``ref`` names. Raises UnknownField, and ConditionError for a wrong argument."""
    field = fields.lookup(ref.name)
    if field is None:
        raise UnknownField(ref.name, ref.start, ref.end)
    argument = ref.argument
    if argument is None:
        if field.argument is Argument.REQUIRED:
            example = "name" if field.argument_kind is ArgumentKind.KEY else "0"
            raise ConditionError(
                f"{field.name} needs an argument", ref.start, ref.end, f"write {field.name}[{example}]"
            )
        return FieldOperand(field)
    if field.argument is Argument.NONE:
        raise ConditionError(f"{field.name} takes no argument", ref.start, ref.end, f"write {field.name}")
    is_number = argument.isdecimal() or field.argument_kind is ArgumentKind.INDEX
    if is_number and field.argument_kind is not ArgumentKind.KEY:
        digits = argument.lstrip("0") or "0"
        if not (argument.isascii() and argument.isdecimal() and len(digits) <= len(str(LARGEST_INDEX))):
            message = f"{field.name} takes a number from 0 as its argument, not `{shown(argument)}`"
            raise ConditionError(message, ref.start, ref.end, f"such as {field.name}[1]")
        argument = digits
    elif field.argument_kind is ArgumentKind.GLOB:
        try:
            compile_glob(argument, regexes=Regexes())
        except PatternError as error:
            message = f"the argument of {field.name} can't be used as a glob: {shown(str(error))}"
            raise ConditionError(message, ref.start, ref.end) from None
    return FieldOperand(field, argument)


def transformed(call: Call) -> Transformed:
    """The typed operand of a transformer call. Raises ConditionError.

    ``join("-", (a, b))`` has the operands ``"-", a, b``; the selector of ``getopt(…)[x]`` is its third
    operand. Argument and result types follow libsinsp (sinsp_filter_transformers,
    sinsp_filtercheck_multivalue_transformer.cpp).
    """
    if sum(len(given.items) if isinstance(given, ArgumentList) else 1 for given in call.arguments) > MAX_OPERANDS:
        raise ConditionError(f"`{call.name}(…)` takes no more than {MAX_OPERANDS} values", call.start, call.end)
    if call.selector is not None and (call.name != "getopt" or len(call.selector) != 1):
        hint = "only getopt(…) takes one option letter in brackets, such as `getopt(…)[t]`"
        raise ConditionError(f"`{call.name}(…)` takes no `[{shown(call.selector)}]`", call.start, call.end, hint)
    match call.name:
        case "join":
            return _join(call)
        case "concat":
            return _concat(call)
        case "getopt":
            return _getopt(call)
        case _:
            return _of_one(call)


def _of_one(call: Call) -> Transformed:
    (argument,) = _arguments(call, 1, "one argument")
    operand = _single(call, argument)
    type_, multiplicity = operand.type, operand.multiplicity
    if call.name == "len":
        if multiplicity is Multiplicity.ONE and type_ not in _TEXT and type_ is not FieldType.BYTES:
            raise _wrong(call, argument, "a list, text or bytes", operand)
        return Transformed("len", (operand,), FieldType.INTEGER, Multiplicity.ONE)
    if type_ not in _TEXT and not (call.name == "b64" and type_ is FieldType.BYTES):
        raise _wrong(call, argument, "text or bytes" if call.name == "b64" else "text", operand)
    return Transformed(
        call.name, (operand,), FieldType.BYTES if type_ is FieldType.BYTES else FieldType.STRING, multiplicity
    )


def _join(call: Call) -> Transformed:
    form = "a separator and a list"
    separator, items = _arguments(call, 2, form, 'such as `join("-", (proc.pname, proc.name))`')
    operands = [_text_of(call, separator)]
    if isinstance(items, ArgumentList):
        operands.extend(_text_of(call, item) for item in items.items)
    else:
        operands.append(_text_list(call, items))
    return Transformed("join", tuple(operands), FieldType.STRING, Multiplicity.ONE)


def _concat(call: Call) -> Transformed:
    if len(call.arguments) < 2:
        raise ConditionError("`concat(…)` takes two arguments or more", call.start, call.end)
    operands = tuple([_text_of(call, argument) for argument in call.arguments])
    return Transformed("concat", operands, FieldType.STRING, Multiplicity.ONE)


def _getopt(call: Call) -> Transformed:
    arguments, options = _arguments(call, 2, "a list and the option letters", 'such as `getopt(field, "nt:")`')
    operands = [_text_list(call, arguments), _text_of(call, options)]
    if call.selector is None:
        return Transformed("getopt", tuple(operands), FieldType.STRING, Multiplicity.LIST)
    operands.append(Literal(call.selector, FieldType.STRING))
    return Transformed("getopt", tuple(operands), FieldType.STRING, Multiplicity.ONE)


_Argument = FieldRef | Call | Word | ArgumentList


def _arguments(call: Call, count: int, form: str, hint: str = "") -> tuple[_Argument, ...]:
    if len(call.arguments) != count:
        raise ConditionError(f"`{call.name}(…)` takes {form}", call.start, call.end, hint)
    return call.arguments


def _single(call: Call, argument: _Argument) -> Operand:
    match argument:
        case FieldRef():
            return field_operand(argument)
        case Call():
            return transformed(argument)
        case Word(text):
            return Literal(text, FieldType.STRING)
        case ArgumentList():
            raise ConditionError(f"`{call.name}(…)` takes no list in parentheses here", argument.start, argument.end)


def _text_of(call: Call, argument: _Argument) -> Operand:
    """An argument that must be one text."""
    operand = _single(call, argument)
    if operand.type not in _TEXT or operand.multiplicity is not Multiplicity.ONE:
        raise _wrong(call, argument, "one text", operand)
    return operand


def _text_list(call: Call, argument: _Argument) -> Operand:
    """An argument that must hold several texts."""
    operand = _single(call, argument)
    if operand.type not in _TEXT or operand.multiplicity is Multiplicity.ONE:
        raise _wrong(call, argument, "a list of texts", operand)
    return operand


def _wrong(call: Call, argument: _Argument, wanted: str, operand: Operand) -> ConditionError:
    given = kind(operand.type)
    if operand.multiplicity is not Multiplicity.ONE:
        given = f"several values, each {given}"
    return ConditionError(f"`{call.name}(…)` takes {wanted} here; this is {given}", argument.start, argument.end)
