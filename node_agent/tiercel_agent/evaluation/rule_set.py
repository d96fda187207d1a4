"""A set of rules as the engine loop runs it, and the files it came from."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tiercel_agent.evaluation.bundle_files import read_bundle
from tiercel_engine.diagnostics import Diagnostic, Location, Severity
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.priority import Priority
from tiercel_engine.rendering.output import Output, compile_output
from tiercel_engine.rule import Origin, Rule
from tiercel_engine.rules import load, read_rules
from tiercel_engine.rules.bundle import BundleError
from tiercel_engine.rules.documents.files import SUFFIXES
from tiercel_engine.rules.objects import Resolver, one_line

BUNDLE = "LOAD_ERR_BUNDLE"
Signature = frozenset[tuple[str, int, int, int]]


@dataclass(frozen=True, slots=True)
class Refused:
    """A part of a SecurityRule that this node doesn't run, and why."""

    origin: Origin
    reason: str


@dataclass(frozen=True, slots=True)
class RuleSet:
    """``rules`` are those that run: they are enabled, are about system calls, and have at least the wanted priority."""

    rules: tuple[Rule, ...]
    matcher: Matcher
    outputs: Mapping[str, Output]
    """The compiled output of each rule, by the rule's key."""
    requirements: Requirements
    errors: tuple[Diagnostic, ...]
    """Why the set must not be used; empty if it may be."""
    warnings: tuple[Diagnostic, ...]
    bundle: str = ""
    """The hash of the bundle that the rules came in."""
    refused: tuple[Refused, ...] = ()
    """What of a bundle this node can't run. The rest runs."""


def default_rules() -> Path:
    """The folder of the rules that come with the package."""
    return Path(str(importlib.resources.files("tiercel_agent") / "default_rules"))


def load_rule_set(
    paths: Sequence[Path], *, priority: Priority = Priority.DEBUG, first_match: bool = False, tags: Iterable[str] = ()
) -> RuleSet:
    """Loads files and folders in order. Raises nothing: errors are in the result, beside the good rules.

    Rules of a lower priority than ``priority`` are left out before anything is watched for them, and so are, if there
    are ``tags``, rules with none of these.
    """
    files, unreadable = read_rules(paths)
    loaded = load(files)
    ready = _ready(loaded.rules, priority, first_match, tags)
    return replace(ready, errors=(*unreadable, *loaded.errors), warnings=loaded.warnings)


def load_bundle(
    folder: Path,
    *,
    priority: Priority = Priority.DEBUG,
    first_match: bool = False,
    resolver: Resolver | None = None,
) -> RuleSet:
    """Loads the bundle in a folder. Raises nothing: the good rules of its objects run, and those with errors are in
    ``refused``. A bundle that isn't whole is an error, and has no rules.

    What a ``resolver`` has resolved before is taken from it.
    """
    try:
        hash_, objects = read_bundle(folder)
    except BundleError as error:
        place = Location(os.fspath(folder), 1, 1)
        return replace(_ready((), priority), errors=(Diagnostic(Severity.ERROR, BUNDLE, str(error), place, "bundle"),))
    resolved = (resolver or Resolver()).resolve(objects)
    refused = tuple(
        Refused(origin, one_line(error))
        for origin, resolved_object in resolved.objects.items()
        for error in resolved_object.errors
    )
    return replace(_ready(resolved.rules, priority, first_match), bundle=hash_, refused=refused)


def _ready(rules: Iterable[Rule], priority: Priority, first_match: bool = False, tags: Iterable[str] = ()) -> RuleSet:
    """The set of those of the rules that are to run."""
    wanted = frozenset(tags)
    rules = tuple(
        rule
        for rule in rules
        if rule.enabled
        and rule.source == "syscall"
        and rule.priority <= priority
        and (not wanted or wanted & set(rule.tags))
    )
    matcher = Matcher(rules, first_only=first_match)
    requirements = Requirements.of(rules)
    # It is prepared now, while nothing waits for it, rather than when the first event of a type comes.
    matcher.prepare(sorted(requirements.event_types))
    return RuleSet(
        rules=rules,
        matcher=matcher,
        outputs={rule.key: compile_output(rule.output) for rule in rules},
        requirements=requirements,
        errors=(),
        warnings=(),
    )


def showing(requirements: Requirements, keys: Iterable[str]) -> Requirements:
    """The requirements, if alerts are also shown with these fields, which the rules' outputs don't name."""
    return replace(requirements, output_fields=requirements.output_fields | frozenset(keys))


def signature(paths: Iterable[Path], bundle: Path | None = None) -> Signature:
    """Path, inode, time and size of each file of rules and of the bundle, to see whether any has changed."""
    files = set()
    for folder in [*paths, *([bundle] if bundle is not None else [])]:
        for file in _files(folder, every=folder == bundle):
            try:
                status = file.stat()
            except OSError:
                continue
            files.add((os.fspath(file), status.st_ino, status.st_mtime_ns, status.st_size))
    return frozenset(files)


def _files(path: Path, *, every: bool) -> list[Path]:
    try:
        return [file for file in path.iterdir() if every or file.suffix in SUFFIXES] if path.is_dir() else [path]
    except OSError:
        return []
