"""Reads the text of a value as a constant of the type that a field and an operator need."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from tiercel_engine.condition import Constant, Operator
from tiercel_engine.fields import FieldType
from tiercel_engine.language.lexer import shown
from tiercel_engine.patterns import compile_glob, compile_path_prefixes, compile_regex
from tiercel_engine.regexes import PatternError, Regexes
from tiercel_engine.units import parse_nanoseconds

LARGEST_PORT = (1 << 16) - 1
SMALLEST_INTEGER, LARGEST_INTEGER = -(1 << 63), (1 << 64) - 1
"""The range of 64-bit integers, both signed and unsigned."""

# The number forms of Falco's grammar, with an optional sign of the exponent. Only texts of bounded length are matched.
_LONGEST_NUMBER = 64
_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")
_HEX = re.compile(r"0[xX][0-9a-fA-F]+")
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


class ConstantError(Exception):
    """A value does not fit. ``hint`` says what would be right (``""`` if unknown)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


# What is compiled to be checked isn't kept: each check has a pool of its own.
_GLOBS: dict[Operator, Callable[[str], object]] = {
    Operator.GLOB: lambda text: compile_glob(text, regexes=Regexes()),
    Operator.IGLOB: lambda text: compile_glob(text, ignore_case=True, regexes=Regexes()),
    Operator.PMATCH: lambda text: compile_path_prefixes([text], regexes=Regexes()),
}


def read_constant(text: str, type_: FieldType, operator: Operator) -> Constant:
    """The constant that a field of ``type_`` is compared with. Raises ConstantError.

    Times and durations are in nanoseconds. An address with a prefix length is a network; for a field of the type
    NETWORK every constant is a network. The operators ``bcontains`` and ``bstartswith`` take hexadecimal digits.
    """
    if type_ in (FieldType.STRING, FieldType.FLAGS):
        return _text(text, operator)
    if type_ is FieldType.BYTES:
        return _bytes(text, operator)
    return _READERS[type_](text)


def _text(text: str, operator: Operator) -> str:
    if "\0" in text:
        raise ConstantError("text never holds a zero byte", "only fields of bytes do, such as evt.buffer")
    if operator is Operator.REGEX:
        try:
            compile_regex(text, regexes=Regexes())
        except PatternError as error:
            raise ConstantError(f"not a regular expression that RE2 accepts: {shown(str(error))}") from None
    if operator in _GLOBS:
        try:
            _GLOBS[operator](text)
        except PatternError as error:
            raise ConstantError(f"a pattern that can't be used: {shown(str(error))}") from None
    if operator in (Operator.GLOB, Operator.IGLOB) and (len(text) - len(text.rstrip("\\"))) % 2:
        raise ConstantError("the pattern ends in a backslash that escapes nothing", "write two for a backslash itself")
    return text


def _bytes(text: str, operator: Operator) -> bytes:
    if operator not in (Operator.BCONTAINS, Operator.BSTARTSWITH):
        return text.encode("utf-8", "surrogateescape")
    if not text or len(text) % 2 or not _HEX_DIGITS.issuperset(text):
        hint = "such as CAFEBABE, without 0x"
        raise ConstantError(f"`{shown(text)}` is not pairs of hexadecimal digits", hint)
    return bytes.fromhex(text)


def _number(text: str) -> Decimal:
    if len(text) <= _LONGEST_NUMBER:
        if _DECIMAL.fullmatch(text):
            return Decimal(text)
        if _HEX.fullmatch(text):
            return Decimal(int(text, 16))
    raise ConstantError(f"`{shown(text)}` is not a number", "such as 42, -1, 1e9 or 0x1F")


def _float(text: str) -> float:
    return float(_number(text))


def _integer(text: str, smallest: int = SMALLEST_INTEGER, largest: int = LARGEST_INTEGER) -> int:
    number = _number(text)
    if not smallest <= number <= largest:
        raise ConstantError(f"`{shown(text)}` is out of range", f"from {smallest} to {largest}")
    integer = int(number)
    if integer != number:
        raise ConstantError(f"`{shown(text)}` is not a whole number")
    return integer


def _port(text: str) -> int:
    try:
        return _integer(text, 0, LARGEST_PORT)
    except ConstantError as error:
        hint = error.hint
        if text.isascii() and text[:1].isalpha() and len(text) <= _LONGEST_NUMBER:
            try:
                hint = f"write {socket.getservbyname(text)}: services are not known by name"
            except OSError:
                hint = "write the number of a port: services are not known by name"
        raise ConstantError(error.message, hint) from None


def _nanoseconds(text: str) -> int:
    try:
        return _integer(text)
    except ConstantError as error:
        message = error.message
    try:
        nanoseconds = parse_nanoseconds(text)
    except ValueError:
        raise ConstantError(message, "a number of nanoseconds, such as 5000000000 for five seconds") from None
    raise ConstantError(f"`{shown(text)}` is not a number of nanoseconds", f"{shown(text)} is {nanoseconds}")


def _boolean(text: str) -> bool:
    if text in ("true", "1"):
        return True
    if text in ("false", "0"):
        return False
    lowered = text[:8].lower()
    hint = f"write {lowered}" if lowered in ("true", "false") else ""
    raise ConstantError(f"`{shown(text)}` is neither true nor false", hint)


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        address = ip_address(text)
    except ValueError:
        address = None
    if address is None or "%" in text:
        raise ConstantError(
            f"`{shown(text)}` is not an IP address", "such as 10.0.0.1, fd00::1 or the network 10.0.0.0/8"
        )
    return address


def _address_or_network(text: str) -> IPv4Address | IPv6Address | IPv4Network | IPv6Network:
    return _network(text) if "/" in text else _address(text)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        # As in Falco, bits after the prefix are ignored: 10.1.2.3/8 is 10.0.0.0/8.
        network = ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or "%" in text:
        raise ConstantError(f"`{shown(text)}` is not an IP network", "such as 10.0.0.0/8 or fd00::/8")
    return network


_READERS: dict[FieldType, Callable[[str], Constant]] = {
    FieldType.INTEGER: _integer,
    FieldType.FLOAT: _float,
    FieldType.PORT: _port,
    FieldType.TIME: _nanoseconds,
    FieldType.DURATION: _nanoseconds,
    FieldType.BOOLEAN: _boolean,
    FieldType.ADDRESS: _address_or_network,
    FieldType.NETWORK: _network,
}
