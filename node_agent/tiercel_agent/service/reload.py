"""New rules for a running agent: looked for and loaded in a thread, while detection goes on with the old ones."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tiercel_agent.config import Config, read_config
from tiercel_agent.evaluation.rule_set import RuleSet, Signature, load_bundle, load_rule_set, signature
from tiercel_agent.logs import located
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

    A reload that is asked for (SIGHUP) reads the configuration file anew; one for a changed rules file doesn't. All
    files are looked at and read in a thread: a disk may not answer.
    """

    def __init__(self, path: Path, config: Config, used: Callable[[], float] = time.thread_time) -> None:
        """To be made before the first rules are loaded, so that no change is missed. ``used`` is a thread's seconds of
        CPU time."""
        self.config = config
        self.look_took = 0.0
        """Seconds of CPU time that the last look has taken."""
        self._used = used
        self._path = path
        self._looking: Future[Reloaded | None] | None = None
        self._asked_for: SimpleQueue[tuple[bool, Future[Reloaded | None]] | None] = SimpleQueue()
        # A daemon: the end of the process doesn't wait for a look that hangs.
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)
        self._begun = False
        self._resolver = Resolver()
        self._loaded = self._seen = signature(config.rules, config.bundle)

    @property
    def busy(self) -> bool:
        """Whether a look has begun whose result hasn't been taken."""
        return self._looking is not None

    def look(self, *, asked: bool) -> None:
        """Begins to look whether there is a reason to reload, and reloads then. Not to be called while it is busy."""
        if not self._thread.is_alive():
            self._thread.start()
        self._looking = Future()
        self._asked_for.put((asked, self._looking))

    def has_begun(self) -> bool:
        """Whether a reload has begun since the last call."""
        begun, self._begun = self._begun, False
        return begun

    def result(self) -> Reloaded | None:
        """The result of a reload, once; None where there was no reason for one, and while it runs."""
        if self._looking is None or not self._looking.done():
            return None
        looked, self._looking = self._looking, None
        return looked.result()

    def wait(self, timeout: float) -> None:
        """Waits until the look that has begun is over, for ``timeout`` seconds at most."""
        if self._looking is not None:
            wait([self._looking], timeout)

    def accept(self, accepted: Accepted) -> None:
        """Takes note that these rules run now: later changes are compared with their files."""
        self.config = accepted.config
        self._loaded = self._seen = accepted.files

    def load_now(self) -> RuleSet:
        """The rules that the configuration names, loaded at once: the first ones."""
        return load_configured(self.config, self._resolver)

    def close(self) -> None:
        """Ends the thread after the look at which it is."""
        self._asked_for.put(None)

    def _run(self) -> None:
        while (asked_for := self._asked_for.get()) is not None:
            asked, looking = asked_for
            try:
                looking.set_result(self._look(asked))
            except Exception as error:  # nobody foresaw it: the rules that run go on
                LOGGER.error("the rules could not be loaded: unexpected error: %s", located(error))
                looking.set_result(Reloaded(None, ()))

    def _look(self, asked: bool) -> Reloaded | None:
        begun = self._used()
        seen = signature(self.config.rules, self.config.bundle)
        self.look_took = self._used() - begun
        settled = seen == self._seen
        self._seen = seen
        if not asked and (seen == self._loaded or not settled):
            return None
        self._loaded = seen
        self._begun = True
        return _reload(self._path if asked else None, self.config, self._resolver)


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
