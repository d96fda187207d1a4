"""New rules for a running agent: loaded in a thread while detection goes on with the old ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tiercel_agent.config import Config, read_config
from tiercel_agent.evaluation.rule_set import RuleSet, Signature, load_bundle, load_rule_set, signature
from tiercel_engine.diagnostics import Diagnostic, Severity
from tiercel_engine.rules.objects import Resolver

LOGGER = logging.getLogger(__name__)
_MOST_LOGGED = 20


@dataclass(frozen=True, slots=True)
class Accepted:
    """Rules without errors, the configuration that names them, and the files that they were read from."""

    config: Config
    rules: RuleSet
    files: Signature


@dataclass(frozen=True, slots=True)
class Reloaded:
    """``accepted`` is None where errors forbid the use of what was read."""

    accepted: Accepted | None
    diagnostics: tuple[Diagnostic, ...]


class Reloader:
    """Begins a reload when it is asked to, and when a rules file has changed and is the same at two looks.

    A reload that is asked for (SIGHUP) reads the configuration file anew; one for a changed rules file doesn't.
    """

    def __init__(self, path: Path, config: Config) -> None:
        """To be made before the first rules are loaded, so that no change is missed."""
        self.config = config
        self._path = path
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="reload")
        self._running: Future[Reloaded] | None = None
        self._resolver = Resolver()
        self._loaded = self._seen = signature(config.rules, config.bundle)

    @property
    def busy(self) -> bool:
        return self._running is not None

    def look(self, *, asked: bool) -> bool:
        """Begins a reload if there is a reason, and returns whether it did. Not to be called while one runs."""
        seen = signature(self.config.rules, self.config.bundle)
        settled = seen == self._seen
        self._seen = seen
        if not asked and (seen == self._loaded or not settled):
            return False
        self._loaded = seen
        self._running = self._pool.submit(_reload, self._path if asked else None, self.config, self._resolver)
        return True

    def result(self, timeout: float | None = None) -> Reloaded | None:
        """The result of a reload, which is returned once; None while it runs. Waits for at most ``timeout`` seconds."""
        if self._running is None:
            return None
        if timeout is None and not self._running.done():
            return None
        reloaded = self._running.result(timeout)
        self._running = None
        return reloaded

    def accept(self, accepted: Accepted) -> None:
        """Takes note that these rules run now: later changes are compared with their files."""
        self.config = accepted.config
        self._loaded = self._seen = accepted.files

    def load_now(self) -> RuleSet:
        """The rules that the configuration names, loaded at once: the first ones."""
        return load_configured(self.config, self._resolver)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def load_configured(config: Config, resolver: Resolver | None = None) -> RuleSet:
    """The bundle or the files of rules that the configuration names; ``resolver`` is as for ``load_bundle``."""
    if config.bundle is not None:
        return load_bundle(config.bundle, priority=config.priority, first_match=config.first_match, resolver=resolver)
    return load_rule_set(config.rules, priority=config.priority, first_match=config.first_match)


def log_refused(rules: RuleSet) -> None:
    """Logs what of a bundle this node can't run."""
    for refused in rules.refused[:_MOST_LOGGED]:
        LOGGER.warning("SecurityRule %s/%s: %s", refused.origin.namespace, refused.origin.name, refused.reason)
    if len(rules.refused) > _MOST_LOGGED:
        LOGGER.warning("%d more problems of SecurityRules are not shown", len(rules.refused) - _MOST_LOGGED)


def log_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    for each in diagnostics:
        level = logging.ERROR if each.severity is Severity.ERROR else logging.WARNING
        item = f" in {each.item_type} {each.item_name!r}" if each.item_name else ""
        hint = f" ({each.hint})" if each.hint else ""
        LOGGER.log(level, "%s: %s%s: %s%s", each.location, each.code, item, each.message, hint)


def _reload(path: Path | None, config: Config, resolver: Resolver) -> Reloaded:
    diagnostics: tuple[Diagnostic, ...] = ()
    if path is not None:
        read = read_config(path)
        diagnostics = (*read.errors, *read.warnings)
        if read.config is None:
            return Reloaded(None, diagnostics)
        config = read.config
    files = signature(config.rules, config.bundle)
    rules = load_configured(config, resolver)
    diagnostics = (*diagnostics, *rules.errors, *rules.warnings)
    return Reloaded(None if rules.errors else Accepted(config, rules, files), diagnostics)
