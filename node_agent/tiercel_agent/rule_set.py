"""A set of rules as the engine loop runs it, and the files it came from."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tiercel_engine.diagnostics import Diagnostic
from tiercel_engine.evaluation.matcher import Matcher
from tiercel_engine.evaluation.requirements import Requirements
from tiercel_engine.event_types import SYSCALL_EVENT_TYPES
from tiercel_engine.output import Output, compile_output
from tiercel_engine.priority import Priority
from tiercel_engine.rule import Rule
from tiercel_engine.rules import load, read_rules
from tiercel_engine.rules.files import SUFFIXES

Signature = frozenset[tuple[str, int, int, int]]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """``rules`` are those that run: enabled, of the system call source, grave enough."""

    rules: tuple[Rule, ...]
    matcher: Matcher
    outputs: Mapping[str, Output]
    """The compiled output of each rule, by the rule's key."""
    requirements: Requirements
    errors: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]


def default_rules() -> Path:
    """The folder of the rules that come with the package."""
    return Path(str(importlib.resources.files("tiercel_agent") / "default_rules"))


def load_rule_set(
    paths: Sequence[Path], *, priority: Priority = Priority.DEBUG, first_match: bool = False, tags: Iterable[str] = ()
) -> RuleSet:
    """Loads files and folders in order. Raises nothing: errors are in the result, beside the good rules.

    Rules less grave than ``priority``, and with ``tags`` those that carry none of them, are left
    out before anything is watched for them.
    """
    files, unreadable = read_rules(paths)
    loaded = load(files)
    wanted = frozenset(tags)
    rules = tuple(
        rule
        for rule in loaded.rules
        if rule.enabled
        and rule.source == "syscall"
        and rule.priority <= priority
        and (not wanted or wanted & set(rule.tags))
    )
    matcher = Matcher(rules, first_only=first_match)
    requirements = Requirements.of(rules)
    # Now, where nothing waits for it, and not when the first event of a type comes.
    matcher.prepare(sorted(requirements.event_types or SYSCALL_EVENT_TYPES))
    return RuleSet(
        rules=rules,
        matcher=matcher,
        outputs={rule.key: compile_output(rule.output) for rule in rules},
        requirements=requirements,
        errors=(*unreadable, *loaded.errors),
        warnings=loaded.warnings,
    )


def showing(requirements: Requirements, keys: Iterable[str]) -> Requirements:
    """The requirements of the same rules where alerts are shown with more fields than their outputs name."""
    return replace(requirements, output_fields=requirements.output_fields | frozenset(keys))


def signature(paths: Iterable[Path]) -> Signature:
    """Changes whenever a rules file does, or one comes or goes: path, inode, time and size of each."""
    found = set()
    for path in paths:
        for file in _files(path):
            try:
                status = file.stat()
            except OSError:
                continue
            found.add((os.fspath(file), status.st_ino, status.st_mtime_ns, status.st_size))
    return frozenset(found)


def _files(path: Path) -> list[Path]:
    try:
        return [file for file in path.iterdir() if file.suffix in SUFFIXES] if path.is_dir() else [path]
    except OSError:
        return []
