"""The long-running agent: signals, reloading, the log and systemd around the engine loop."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import replace

from tiercel_agent.config import Config
from tiercel_agent.delivery.fan_out import FanOut
from tiercel_agent.detection.partial import restrictions
from tiercel_agent.detection.source import EventSource
from tiercel_agent.evaluation.loop import HOUSEKEEPING, EngineLoop
from tiercel_agent.evaluation.rule_set import RuleSet
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.metrics import Metrics, Readings, by_rule
from tiercel_agent.service.alert_sinks import AlertSinks
from tiercel_agent.service.node_status import Reporter, status_of
from tiercel_agent.service.reload import Accepted, Reloader, log_diagnostics, log_refused
from tiercel_agent.service.sd_notify import Notifier
from tiercel_agent.warning import AgentWarning, describe
from tiercel_engine.memory import keep_out_of_collections
from tiercel_engine.resources.node_agent import WarningKind
from tiercel_engine.resources.resource import time_text

LOGGER = logging.getLogger(__name__)

LOOK = 0.25
"""Seconds between two looks at the rules files: a change is in force within two seconds."""

HANGS = 30.0
"""Seconds after which a look at the rules files counts as one that doesn't end."""

LOOK_SHARE = 200
"""Where there are so many files that looking takes long, at most one part in so many of the time is spent on it."""


class Agent:
    """Runs until SIGTERM or SIGINT. SIGHUP loads the rules anew, SIGUSR1 opens output files anew.

    Signal handlers only set a flag; the next turn does what the signal asks for.
    """

    def __init__(
        self,
        *,
        source: EventSource,
        loop: EngineLoop,
        outputs: FanOut,
        reloader: Reloader,
        rules: RuleSet,
        notifier: Notifier,
        sinks: AlertSinks,
        reporter: Reporter | None = None,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._loop = loop
        self._outputs = outputs
        self._reloader = reloader
        self._rules = rules
        self._notifier = notifier
        self._sinks = sinks
        self._reporter = reporter
        self._metrics = metrics
        self._begun = clock()
        self._since = time_text()
        self._clock = clock
        self._looked = self._told = clock()
        self._stop = self._reload = self._reopen = False
        self._hanging: tuple[AgentWarning, ...] = ()
        self._loading: Accepted | None = None

    def handle_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, self.take_signal)

    def take_signal(self, number: int, _frame: object = None) -> None:
        """Remembers what the signal asks for."""
        if number == signal.SIGHUP:
            self._reload = True
        elif number == signal.SIGUSR1:
            self._reopen = True
        else:
            self._stop = True

    def run(self) -> None:
        self._sinks.start()
        self._announce()
        keep_out_of_collections()
        while not self._stop and not self._outputs.ended:
            self.turn()
        LOGGER.info("stopping")
        self._notifier.stopping()
        self._loop.finish()
        self._reloader.close()
        self._sinks.close()
        if self._reporter is not None:
            self._reporter.close()
        if self._metrics is not None:
            self._metrics.close()
        for line in self._loop.summary().lines():
            LOGGER.info("%s", line)

    def turn(self) -> None:
        """One turn of the engine loop. About once a second, and after a signal, also everything else."""
        self._loop.turn()
        if self._reopen:
            self._reopen = False
            self._outputs.reopen()
        if self._clock() - self._told >= HOUSEKEEPING:
            self._told = self._clock()
            self._notifier.alive()
            self._notice_hanging()
            self._report()
        self._take_new_rules()
        if self._clock() - self._looked >= max(LOOK, LOOK_SHARE * self._reloader.look_took) or self._reload:
            self._look_for_rules()

    def _look_for_rules(self) -> None:
        if self._reloader.busy or self._loading is not None:
            return
        self._looked = self._clock()
        asked, self._reload = self._reload, False
        self._reloader.look(asked=asked)

    def _notice_hanging(self) -> None:
        if not self._reloader.busy or self._clock() - self._looked < HANGS:
            self._hanging = ()
        elif not self._hanging:
            config = self._reloader.config
            paths = (config.bundle,) if config.bundle is not None else config.rules
            self._hanging = (AgentWarning(WarningKind.RULES_UNREAD, tuple(map(str, paths))),)
            LOGGER.warning("%s", describe(*self._hanging))

    def _take_new_rules(self) -> None:
        """Has rules loaded that were read, and goes on with them once they are. The old ones detect until then."""
        reloaded = self._reloader.result()
        if self._reloader.has_begun():
            self._notifier.reloading()
            LOGGER.info("loading the rules anew")
        if reloaded is not None:
            log_diagnostics(reloaded.diagnostics)
            self._loading = reloaded.accepted
            if self._loading is not None:
                self._loop.load(self._loading.rules)
            else:
                LOGGER.error("the new rules are refused, the old ones stay")
                self._announce()
        if self._loading is not None and not self._loop.is_loading():
            loaded, self._loading = self._loading, None
            self._apply(loaded)
            self._announce()

    def _apply(self, loaded: Accepted) -> None:
        try:
            self._loop.switch()
        except DetectorError as error:
            LOGGER.error("the new rules are refused, the old ones stay: %s", error)
            return
        if fixed(loaded.config) != fixed(self._reloader.config):
            LOGGER.warning("only rules, priority and rule_matching change while it runs: the rest does at a restart")
        for line in restrictions(self._source):
            LOGGER.warning("%s", line)
        log_refused(loaded.rules)
        self._reloader.accept(loaded)
        if loaded.rules.bundle != self._rules.bundle:
            self._since = time_text()
        self._rules = loaded.rules
        keep_out_of_collections()
        self._report()

    def _report(self) -> None:
        if self._reporter is None and self._metrics is None:
            return
        counters, sinks = self._source.counters(), self._sinks.delivery_reports()
        counters = replace(counters, lost={**counters.lost, **self._loop.not_evaluated()})
        if self._reporter is not None:
            source = self._source
            warnings = [*source.lasting_warnings, *source.current_warnings(), *self._outputs.warnings(), *self._hanging]
            alert_sinks = tuple(each for each in sinks if each.namespace)
            alerts = self._loop.alerts_by_rule()
            unwatched = source.unwatched()
            self._reporter.offer(
                status_of(self._rules, counters, warnings, alerts, self._since, alert_sinks, unwatched, source.hooks)
            )
        if self._metrics is not None:
            summary = self._loop.summary()
            readings = Readings(
                events=counters.events,
                stopped=counters.stopped,
                lost=summary.lost,
                alerts=by_rule(summary.alerts, self._rules.rules),
                suppressed=by_rule(summary.suppressed, self._rules.rules),
                rules=len(self._rules.rules),
                bundle=self._rules.bundle,
                outputs=self._outputs.outputs(),
                sinks=sinks,
                uptime=self._clock() - self._begun,
            )
            self._metrics.publish(readings)

    def _announce(self) -> None:
        calls = len(self._source.counters().system_calls)
        status = f"watching: {len(self._rules.rules)} rules, {calls} system calls"
        LOGGER.info("%s", status)
        self._notifier.ready(status)


def fixed(config: Config) -> tuple[object, ...]:
    """The settings that a running agent keeps."""
    return (
        config.flood_limit,
        config.hostname,
        config.json,
        config.outputs,
        config.sinks,
        config.sinks_file,
        config.spool,
        config.egress,
        config.metrics_port,
        config.secrets,
        config.programs,
        config.log,
        config.pid_file,
        config.workloads,
    )
