"""The engine loop: events from the source, rules on them, alerts to the outputs."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from tiercel_agent.config.model import NamespaceBudget
from tiercel_agent.delivery.fan_out import FanOut
from tiercel_agent.delivery.worker import SinkWorker
from tiercel_agent.detection.partial import ReportedParts, partial_alert
from tiercel_agent.detection.source import EventSource
from tiercel_agent.evaluation.floods import Floods
from tiercel_agent.evaluation.losses import LossWatch, loss_alert
from tiercel_agent.evaluation.namespace_queues import NamespaceQueues
from tiercel_agent.evaluation.rule_set import RuleSet
from tiercel_agent.evaluation.shares import Shares
from tiercel_agent.evaluation.shed import Shed, shed_alert
from tiercel_agent.logs import located
from tiercel_agent.loss import Loss, Losses, listed
from tiercel_agent.warning import AgentWarning, describe
from tiercel_engine.alert import Alert
from tiercel_engine.event import Event
from tiercel_engine.matching.matcher import Matches
from tiercel_engine.matching.owners import SYSTEM, namespace_of
from tiercel_engine.regexes import OutOfTime
from tiercel_engine.rendering.alerts import make_alert
from tiercel_engine.resources.node_agent import OVER_SHARE, LossCause
from tiercel_engine.rule import Origin

LOGGER = logging.getLogger(__name__)

POLL = 0.2
"""Seconds that one turn waits for events, at most."""

REMIND = 600.0
"""Seconds between two lines of the log on a warning that lasts."""

HOUSEKEEPING = 1.0
"""Seconds between two looks at the counters."""

SLICE = 0.02
"""Seconds for which rules of namespaces are evaluated, before the system's see what has come meanwhile."""

_DONE = object()


@dataclass(frozen=True, slots=True)
class Summary:
    """Totals since detection began; ``lost`` counts events and alerts, by cause, ``stopped`` the system calls that were
    left in the kernel because no rule can match them."""

    events: int
    alerts: Mapping[str, int]
    lost: Losses
    stopped: int = 0
    suppressed: Mapping[str, int] = field(default_factory=dict)
    """Matches by rule that were counted in alerts of a flood."""

    def lines(self) -> list[str]:
        """For people: alerts by rule, the most frequent first, events seen, what was lost."""
        counted = sorted(self.alerts.items(), key=lambda item: (-item[1], item[0]))
        return [
            f"Alerts: {sum(self.alerts.values())}",
            *(f"{count:>8}  {rule}{self._more(rule)}" for rule, count in counted),
            f"Events seen: {self.events}" + (f", stopped in the kernel: {self.stopped}" if self.stopped else ""),
            f"Lost: {listed(self.lost) or 'none'}",
        ]

    def _more(self, rule: str) -> str:
        return f" ({self.suppressed[rule]} more matches were counted)" if rule in self.suppressed else ""


@dataclass(frozen=True, slots=True)
class RuleAlerts:
    """How often a rule of a SecurityRule has raised an alert, and when it last did, in nanoseconds since the epoch."""

    origin: Origin
    rule: str
    count: int
    last: int


class EngineLoop:
    """One thread calls all methods. ``clock`` is monotonic seconds, ``used`` the thread's seconds of CPU time, ``now``
    nanoseconds since the epoch. ``budget`` is for rules of namespaces other than the system's.

    ``secrets`` is whether alerts show those of command lines.
    """

    def __init__(
        self,
        source: EventSource,
        rules: RuleSet,
        outputs: FanOut,
        *,
        hostname: str,
        secrets: bool = False,
        recording: SinkWorker[Event] | None = None,
        budget: NamespaceBudget = NamespaceBudget(),  # noqa: B008  (it is frozen)
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.thread_time,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._source = source
        self._rules = rules
        self._outputs = outputs
        self._hostname = hostname
        self._secrets = secrets
        self._recording = recording
        self._warned: dict[AgentWarning, float] = {}
        self._clock = clock
        self._now = now
        self._losses = LossWatch()
        self._reported_parts = ReportedParts()
        self._floods = Floods()
        self._suppressed: Counter[str] = Counter()
        self._checked = float("-inf")
        self._alerts: Counter[str] = Counter()
        self._of_rules: dict[tuple[Origin, str], RuleAlerts] = {}
        self._failures: Counter[Loss] = Counter()
        self._shares = Shares(budget, clock, used)
        self._shed = Shed()
        self._waiting = NamespaceQueues()
        self._behind = False
        self._at_work: Iterator[None] | None = None
        """The evaluation of rules of a namespace that has begun."""
        self._next: RuleSet | None = None

    def turn(self, timeout: float = POLL) -> None:
        """Takes the events that are there, or waits for some for at most ``timeout`` seconds.

        The system's rules are evaluated on all of them, then those of namespaces, as far as ``SLICE`` goes.
        """
        self._behind = bool(self._waiting) or self._at_work is not None
        for event in self._source.poll(0.0 if self._behind else timeout):
            self._take(event)
        self._evaluate_waiting(self._clock() + SLICE)
        if self._clock() - self._checked >= HOUSEKEEPING:
            self._checked = self._clock()
            self._report_floods()
            self._report_losses()
            self._report_shed()
            self._report_unwatched()
            self._log_warnings()

    def load(self, rules: RuleSet) -> None:
        """Begins to load other rules, and goes on with the old ones meanwhile."""
        self._next = rules
        self._source.load(rules.requirements, rules.rules)

    def is_loading(self) -> bool:
        """Whether other rules aren't loaded yet."""
        return self._source.is_loading()

    def switch(self) -> None:
        """Goes on with the rules that were loaded. Raises DetectorError, and goes on with the old ones."""
        rules, self._next = self._next, None
        if rules is None:
            raise ValueError("no rules were loaded")
        for event in self._source.switch():
            self._take(event)
        self._evaluate_waiting()
        self._report_floods()
        self._rules = rules
        running = {(rule.origin, rule.name) for rule in rules.rules}
        self._of_rules = {key: alerts for key, alerts in self._of_rules.items() if key in running}

    def finish(self) -> None:
        """Ends watching, takes the last events, raises the last alerts, and lets the outputs deliver what waits."""
        for event in self._source.finish():
            self._take(event)
        self._evaluate_waiting()
        self._report_floods()
        self._report_losses(last=True)
        self._report_shed(last=True)
        self._outputs.close()
        if self._recording is not None:
            self._recording.close()

    def summary(self) -> Summary:
        counters = self._source.counters()
        return Summary(counters.events, dict(self._alerts), self._lost(), counters.stopped, dict(self._suppressed))

    def alerts_by_rule(self) -> list[RuleAlerts]:
        """One entry for each rule of a SecurityRule that runs now and has raised an alert."""
        return list(self._of_rules.values())

    def not_evaluated(self) -> dict[Loss, int]:
        """What reached this loop and was lost in it: events that rules did not see, and alerts beyond a budget."""
        return {**self._failures, **self._shed.totals}

    def _take(self, event: Event) -> None:
        if self._recording is not None:
            self._recording.put([Event(event.source, event.time, event.materialize())])
        matcher, outputs = self._rules.matcher, self._rules.outputs
        try:
            found = matcher.match_system(event) if self._source.concerns_system(event) else ()
            namespace = "" if found and matcher.first_only else matcher.namespace(event)
            if not namespace:
                self._learn(event)
            alerts = [
                (make_alert(rule, view, outputs[rule.key], self._hostname, secrets=self._secrets), view)
                for rule, view in found
            ]
        except Exception as error:
            self._failed(error)
            return
        for alert, view in alerts:
            self._raise(event, alert, view)
        if namespace:
            self._wait(event, namespace)

    def _wait(self, event: Event, namespace: str) -> None:
        if not self._waiting.put(namespace, event, self._source.size(event)):
            self._shed.add(LossCause.EVALUATION_BUDGET_EXCEEDED, namespace)
        elif self._behind:
            self._source.hold(event)

    def _evaluate_waiting(self, until: float = float("inf")) -> None:
        """Evaluates the rules of namespaces on the events that wait; ``until`` is monotonic seconds."""
        while self._clock() < until:
            if self._at_work is None:
                if not self._waiting:
                    return
                self._at_work = self._evaluation(*self._waiting.take())
            if next(self._at_work, _DONE) is _DONE:
                self._at_work = None

    def _evaluation(self, namespace: str, event: Event) -> Iterator[None]:
        """Evaluates the rules of the namespace in whose pods the event happened, as far as they have time: in steps."""
        try:
            if self._shares.is_used_up(namespace):
                self._shed.add(LossCause.EVALUATION_BUDGET_EXCEEDED, namespace)
            else:
                yield from self._evaluate(namespace, event)
        except Exception as error:
            self._failed(error, namespace)

    def _evaluate(self, namespace: str, event: Event) -> Iterator[None]:
        matcher = self._rules.matcher
        steps = matcher.steps(namespace, event)
        while True:
            with self._shares.spending(namespace) as look, matcher.looking(namespace, look):
                try:
                    next(steps)
                except StopIteration as end:
                    self._take_matches(namespace, event, end.value)
                    return
            yield

    def _take_matches(self, namespace: str, event: Event, matches: Matches) -> None:
        for rule, view in matches.found:
            if self._shares.takes_alert(namespace):
                output = self._rules.outputs[rule.key]
                self._raise(event, make_alert(rule, view, output, self._hostname, secrets=self._secrets), view)
            else:
                self._shed.add(LossCause.ALERT_BUDGET_EXCEEDED, namespace)
        if matches.complete:
            with suppress(OutOfTime):
                self._learn(event)
        else:
            self._shed.add(LossCause.EVALUATION_BUDGET_EXCEEDED, namespace)

    def _learn(self, event: Event) -> None:
        if self._recording is None:
            self._source.evaluated(event)

    def _failed(self, error: Exception, namespace: str = "") -> None:
        """One event that trips the engine must not end detection."""
        loss = Loss(LossCause.EVALUATION_FAILED, error=type(error).__name__, namespace=namespace)
        if not self._failures[loss]:
            LOGGER.error("an event could not be evaluated: %s", located(error))
        self._failures[loss] += 1

    def _raise(self, event: Event, alert: Alert, view: Event) -> None:
        self._floods.remember(alert, self._source.cgroup(event))
        self._alert(alert, view)

    def _alert(self, alert: Alert, event: Event | None) -> None:
        self._alerts[alert.rule_key] += 1
        if alert.origin is not None:
            before = self._of_rules.get((alert.origin, alert.rule))
            count = before.count + 1 if before is not None else 1
            self._of_rules[alert.origin, alert.rule] = RuleAlerts(alert.origin, alert.rule, count, alert.time)
        self._outputs.put(alert, event)

    def _report_floods(self) -> None:
        news = self._source.suppressed()
        rules = {rule.key: rule for rule in self._rules.rules} if news else {}
        for suppressed in news:
            self._suppressed[suppressed.rule] += suppressed.count
            rule = rules.get(suppressed.rule)
            alert = self._floods.alert(suppressed, rule, self._hostname, self._now())
            if alert is None:
                continue
            namespace = namespace_of(rule) if rule is not None else SYSTEM
            if namespace == SYSTEM or self._shares.takes_alert(namespace):
                self._alert(alert, None)
            else:
                self._shed.add(LossCause.ALERT_BUDGET_EXCEEDED, namespace)

    def _report_losses(self, *, last: bool = False) -> None:
        lost = {loss: count for loss, count in self._lost().items() if loss.cause not in OVER_SHARE}
        news = self._losses.news(lost, self._clock(), last=last)
        if news:
            self._alert(loss_alert(news, self._hostname, self._now()), None)

    def _report_shed(self, *, last: bool = False) -> None:
        for namespace, losses in self._shed.news(self._clock(), last=last).items():
            self._alert(shed_alert(namespace, losses, self._hostname, self._now()), None)

    def _report_unwatched(self) -> None:
        news = self._reported_parts.news(self._source.unwatched())
        if news:
            self._alert(partial_alert(news, self._hostname, self._now()), None)

    def _log_warnings(self) -> None:
        """Logs each warning when it begins, and each ten minutes while it lasts.

        One that ends and begins again within that time isn't logged again.
        """
        now = self._clock()
        self._warned = {warning: at for warning, at in self._warned.items() if now - at < REMIND}
        for warning in self._source.current_warnings():
            if warning not in self._warned:
                LOGGER.warning("%s", describe(warning))
                self._warned[warning] = now

    def _lost(self) -> dict[Loss, int]:
        lost = {loss: count for loss, count in self._source.counters().lost.items() if count}
        lost |= self.not_evaluated()
        lost |= self._outputs.lost()
        if self._recording is not None and (lost_events := self._recording.totals().lost):
            lost[Loss(LossCause.RECORDING_FAILED)] = lost_events
        return lost
