"""Messages of published gRPC interfaces, made from tables of their field numbers.

A table has each message's name and the fields of it that are read or set: ``name=number:type``, the type being
``string`` where none is given, a scalar type, or another message of the table; ``*`` after it for one that repeats. A
map of strings is encoded as ``Pair*`` is (protobuf, "Backwards compatibility" of maps). Fields that aren't in the table
are ignored, so that answers of newer versions of an interface can be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SCALARS = {
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
}
_PAIR = "Pair key=1 value=2"


def make_messages(package: str, table: str) -> Mapping[str, type[Any]]:
    """The message classes of a table, by name. ``package`` must differ between tables."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for word in f"{_PAIR} {table}".split():
        if "=" in word:
            _add_field(file.message_type[-1], package, word)
        else:
            file.message_type.add(name=word)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{message.name}"))
        for message in file.message_type
    }


def _add_field(message: descriptor_pb2.DescriptorProto, package: str, text: str) -> None:
    name, _, rest = text.partition("=")
    repeated = rest.endswith("*")
    number, _, type_ = rest.removesuffix("*").partition(":")
    type_ = type_ or "string"
    field = message.field.add(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
    if type_ in _SCALARS:
        field.type = _SCALARS[type_]
    else:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{package}.{type_}"


def as_dict(pairs: Iterable[Any]) -> dict[str, str]:
    """A map of strings that was encoded as ``Pair*``."""
    return {pair.key: pair.value for pair in pairs}
