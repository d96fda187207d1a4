"""The page of custom resources, from the models that their definitions are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any, get_args, get_origin

from reference_pages.markdown import code, prose, table
from tiercel_engine.resources.crd import RESOURCES
from tiercel_engine.resources.resource import Resource
from tiercel_engine.resources.schema import Member, members, schema_of

_HEAD = """# Custom resources

The API group is `tiercel.dev`, the version `v1alpha1`. The definitions in `crds/` are made of the same models.
You write `spec`. The operator writes `status`; the status of a NodeAgent is written by the agent of that node alone."""

_LIMITS = (
    ("minimum", "at least {}"),
    ("maximum", "at most {}"),
    ("maxLength", "at most {} characters"),
    ("maxItems", "at most {} entries"),
    ("maxProperties", "at most {} entries"),
    ("pattern", "matches {}"),
)


def page() -> str:
    sections = [_HEAD]
    for resource in RESOURCES.values():
        sections += [f"## {resource.kind}", *_resource(resource)]
    sections += ["## Parts", "What the properties above consist of."]
    for part in _parts():
        sections += [f"### {part.__name__}", *_object(part)]
    return "\n\n".join(sections)


def _resource(resource: Resource) -> Iterator[str]:
    yield prose(resource.description)
    scope = "namespaced" if resource.namespaced else "of the whole cluster"
    names = ", ".join(map(code, (resource.plural, *resource.short_names)))
    yield f"Names for `kubectl`: {names}. Scope: {scope}."
    for key, model in (("spec", resource.spec), ("status", resource.status)):
        if model is not None:
            yield f"### {resource.kind} {key}"
            yield from _object(model)


def _object(model: type) -> Iterator[str]:
    schema = schema_of(model)
    yield prose(schema["description"])
    if members(model):
        rows = (_property(member, schema["properties"][member.key]) for member in members(model))
        yield table(("Property", "Type", "Meaning"), rows)
    if rules := schema.get("x-kubernetes-validations"):
        yield "\n".join(f"- {prose(rule['message'])}." for rule in rules)


def _property(member: Member, schema: Mapping[str, Any]) -> tuple[str, str, str]:
    meaning = prose(schema.get("description") or "")
    limits = [text.format(code(str(schema[key]))) for key, text in _LIMITS if key in schema]
    if values := schema.get("enum"):
        limits.insert(0, "one of " + ", ".join(map(code, values)))
    notes = ["required"] if member.required else []
    notes += limits
    return code(member.key), _type(member.type, schema), f"{meaning} {_sentence(notes)}".strip()


def _sentence(notes: Iterable[str]) -> str:
    text = "; ".join(notes)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _type(kind: object, schema: Mapping[str, Any]) -> str:
    """The type as a link to the part that describes it, or by the name that the schema has for it."""
    parts = list(dict.fromkeys(_dataclasses_in(kind)))
    link = "".join(f"[{part.__name__}](#{part.__name__.lower()})" for part in parts)
    if schema.get("type") == "array":
        return f"list of {link}" if link else f"list of {_scalar(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map of {link}" if link else f"map of {_scalar(schema['additionalProperties'])}"
    return link or _scalar(schema)


def _scalar(schema: Mapping[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if schema.get("format") == "date-time":
        return "time"
    return str(schema.get("type", "any"))


def _parts() -> list[type]:
    """The dataclasses within specs and statuses, each once, in the order in which a reader meets them."""
    found: dict[type, None] = {}

    def visit(model: type) -> None:
        for member in members(model):
            for part in _dataclasses_in(member.type):
                if part not in found:
                    found[part] = None
                    visit(part)

    for resource in RESOURCES.values():
        for model in (resource.spec, resource.status):
            if model is not None:
                visit(model)
    return list(found)


def _dataclasses_in(kind: object) -> Iterator[type]:
    if isinstance(kind, type) and is_dataclass(kind):
        yield kind
    elif get_origin(kind) is Annotated:
        yield from _dataclasses_in(get_args(kind)[0])
    else:
        for argument in get_args(kind):
            yield from _dataclasses_in(argument)
