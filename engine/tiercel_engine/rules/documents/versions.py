"""Checks the versions of the engine and of plugins that a rules file requires."""

from __future__ import annotations

import re

from tiercel_engine.rules.documents.decoding import VALIDATE, DecodeError, kind_word, scalar
from tiercel_engine.rules.documents.document import Mapping, Scalar, Sequence, YamlNode

ENGINE_VERSION = (0, 63, 0)
"""The version of Falco's rule engine whose language is implemented here (Falco 0.44)."""

_SEMVER = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:[-+][0-9A-Za-z.+-]*)?", re.ASCII)


class InvalidRequirement(DecodeError):
    """A requirement of the right form that cannot be met: the version is invalid, or newer than this program."""

    code = VALIDATE


def check_engine_version(node: YamlNode) -> None:
    """Checks ``required_engine_version``: a number N, which means 0.N.0, or a semantic version.

    Raises DecodeError for another form, and InvalidRequirement if a newer engine is required.
    """
    value = scalar(node, "required_engine_version").value
    match = _SEMVER.fullmatch(value)
    if match:
        version = (int(match[1]), int(match[2]), int(match[3]))
    elif value.isascii() and value.isdecimal() and len(value) < 10:
        version = (0, int(value), 0)
    else:
        raise DecodeError("required_engine_version must be a number or a semantic version", node, "such as 0.63.0")
    if version > ENGINE_VERSION:
        have = ".".join(map(str, ENGINE_VERSION))
        raise InvalidRequirement(f"the file requires engine version {value}, this one is {have}", node)


def check_plugin_versions(node: YamlNode) -> None:
    """Checks ``required_plugin_versions``: a list of ``{name, version}``, each possibly with ``alternatives``.

    Rules for system calls need no plugin, so only the form is checked. Raises DecodeError for a wrong form, and
    InvalidRequirement for an invalid version or a plugin that is named twice among alternatives.
    """
    for plugin in _sequence(node, "required_plugin_versions").items:
        names = {_check_plugin(plugin)}
        alternatives = plugin.get("alternatives") if isinstance(plugin, Mapping) else None
        for alternative in _sequence(alternatives, "alternatives").items if alternatives is not None else ():
            name = _check_plugin(alternative)
            if name in names:
                raise InvalidRequirement(f"the plugin {name} is there twice", alternative, "remove one of them")
            names.add(name)


def _check_plugin(plugin: YamlNode) -> str:
    """The name of a required plugin."""
    if not isinstance(plugin, Mapping):
        raise DecodeError(f"a plugin must be a mapping with name and version, not {kind_word(plugin)}", plugin)
    scalars: dict[str, Scalar] = {}
    for key in ("name", "version"):
        value = plugin.get(key)
        if not isinstance(value, Scalar) or value.is_null:
            raise DecodeError(f"the plugin has no {key}", value or plugin)
        scalars[key] = value
    if not _SEMVER.fullmatch(scalars["version"].value):
        raise InvalidRequirement("version must be a semantic version", scalars["version"], "such as 0.7.0")
    return scalars["name"].value


def _sequence(node: YamlNode, key: str) -> Sequence:
    if not isinstance(node, Sequence):
        raise DecodeError(f"{key} must be a list, not {kind_word(node)}", node)
    return node
