"""Tiercel's own form of the configuration; `config/tiercel.yaml` documents it for users."""

from __future__ import annotations

import os
from dataclasses import replace
from ipaddress import ip_network

from tiercel_agent.config.model import (
    LOG_LEVELS,
    LOG_TARGETS,
    Config,
    LogConfig,
    NamespaceBudget,
    default_hostname,
)
from tiercel_agent.config.section import Section
from tiercel_agent.delivery.queues.spool_folders import SpoolSettings
from tiercel_agent.events.processes import MEMORY
from tiercel_agent.kernel.bytecode.provider import ProgramSettings, usual_programs
from tiercel_agent.sinks.local.outputs import FileConfig, OutputConfig, StdoutConfig
from tiercel_agent.sinks.model import BadSink, SinkSettings
from tiercel_agent.sinks.network.egress_policy import EgressPolicy, Network
from tiercel_agent.sinks.urls import sink_of_url
from tiercel_agent.workloads.settings import PATIENCE, WorkloadSettings, found_here
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import EventsSink, OtlpProtocol, OtlpSink
from tiercel_engine.telemetry import sdk_disabled
from tiercel_engine.units import MEBIBYTE

_LAST_PORT = 65535


def translate(settings: Section) -> Config:
    outputs = settings.section("outputs")
    log = settings.section("log")
    workloads = _workloads(settings)
    hostname = settings.text("hostname") or default_hostname()
    config = Config(
        rules=settings.paths("rules"),
        bundle=settings.resolved(text) if (text := settings.text("bundle")) else None,
        priority=settings.priority("priority"),
        first_match=settings.choice("rule_matching", ("all", "first"), "all") == "first",
        flood_limit=settings.number("flood_limit", 100),
        namespace_budget=_namespace_budget(settings.section("namespace_budget")),
        hostname=hostname,
        json=settings.choice("format", ("json", "text"), "json") == "json",
        outputs=(
            *_stdout(outputs.section("stdout")),
            *_file(outputs.section("file")),
        ),
        sinks=(*_events(outputs, workloads), *_otlp(outputs.section("otlp")), *_urls(outputs)),
        sinks_file=settings.resolved(text) if (text := settings.text("sinks")) else None,
        process_memory=_processes(settings.section("processes")),
        spool=_spool(settings.section("spool")),
        egress=_egress(settings.section("egress")),
        metrics_port=_metrics(settings.section("metrics")),
        secrets=settings.boolean("show_secrets", False),
        programs=_programs(settings.section("programs")),
        log=LogConfig(log.choice("level", LOG_LEVELS, "info"), _log_targets(log)),
        pid_file=settings.resolved(text) if (text := settings.text("pid_file")) else None,
        workloads=workloads,
    )
    if config.rules and config.bundle is not None:
        settings.error("bundle", "rules and bundle are configured", "the bundle holds all rules: remove one of them")
    elif not config.rules and config.bundle is None:
        settings.error("rules", "no rules are configured", "list files and folders under rules:")
    if not (config.outputs or config.sinks or config.sinks_file):
        settings.error(
            "outputs",
            "no output is enabled: alerts would reach nobody",
            "enable outputs.stdout, file, events or otlp, or list outputs.urls",
        )
    for section in (settings, outputs, log):
        section.refuse_unknown()
    return config


def _workloads(settings: Section) -> WorkloadSettings:
    containers, kubernetes = settings.section("containers"), settings.section("kubernetes")
    path = kubernetes.text("kubeconfig")
    usual = found_here(
        containers.paths("sockets"),
        kubernetes.resolved(path) if path else None,
        kubernetes.text("node"),
        annotations=kubernetes.texts("annotations"),
        patience=containers.number("wait_ms", round(PATIENCE * 1000)) / 1000,
    )
    enabled = kubernetes.boolean("enabled", usual.kubernetes)
    for section in (containers, kubernetes):
        section.refuse_unknown()
    return replace(usual, kubernetes=enabled)


def _namespace_budget(section: Section) -> NamespaceBudget:
    usual = NamespaceBudget()
    budget = NamespaceBudget(
        namespace_cpu=section.number("cpu_percent", round(100 * usual.namespace_cpu)) / 100,
        all_cpu=section.number("all_cpu_percent", round(100 * usual.all_cpu)) / 100,
        alerts=section.number("alerts_per_second", usual.alerts),
    )
    section.refuse_unknown()
    return budget


def _stdout(section: Section) -> tuple[OutputConfig, ...]:
    enabled = section.boolean("enabled", True)
    section.refuse_unknown()
    return (StdoutConfig(),) if enabled else ()


def _file(section: Section) -> tuple[OutputConfig, ...]:
    enabled = section.boolean("enabled", "path" in section)
    path = section.text("path")
    keep_alive = section.boolean("keep_alive", True)
    section.refuse_unknown()
    if enabled and not path:
        section.error("path", "outputs.file has no path", "add path: /var/log/tiercel/alerts.jsonl")
    return (FileConfig(section.resolved(path), keep_alive),) if enabled and path else ()


def _events(outputs: Section, workloads: WorkloadSettings) -> tuple[SinkSettings, ...]:
    section = outputs.section("events")
    enabled = section.boolean("enabled", "events" in outputs)
    per_minute = section.number("per_minute", 60)
    section.refuse_unknown()
    if not enabled:
        return ()
    if not workloads.kubernetes:
        outputs.error("events", "outputs.events needs the Kubernetes API", "set kubernetes.enabled and kubeconfig")
    elif not per_minute:
        section.error("per_minute", "outputs.events.per_minute is 0", "write enabled: false for no Events")
    return (SinkSettings("events", AlertSinkSpec(events=EventsSink(per_minute))),)


def _otlp(section: Section) -> tuple[SinkSettings, ...]:
    endpoint = section.text("endpoint")
    enabled = section.boolean("enabled", bool(endpoint or _asked_for()))
    protocol = section.choice(
        "protocol", [each.value for each in OtlpProtocol], _set("PROTOCOL") or OtlpProtocol.HTTP.value
    )
    section.refuse_unknown()
    if not enabled:
        return ()
    if not endpoint and not _set("ENDPOINT"):
        section.error("endpoint", "outputs.otlp has no endpoint", "add endpoint: http://collector:4318/v1/logs")
    return (SinkSettings("otlp", AlertSinkSpec(otlp=OtlpSink(endpoint or None, protocol=OtlpProtocol(protocol)))),)


def _asked_for() -> bool:
    """Whether the standard variables of OpenTelemetry alone ask for logs to be sent."""
    return (
        bool(_set("ENDPOINT")) and not sdk_disabled() and os.environ.get("OTEL_LOGS_EXPORTER", "otlp").strip() != "none"
    )


def _urls(outputs: Section) -> tuple[SinkSettings, ...]:
    sinks = []
    for number, url in enumerate(outputs.texts("urls")):
        try:
            sinks.append(sink_of_url(url, f"url-{number + 1}"))
        except BadSink as error:
            outputs.error("urls", f"outputs.urls[{number}]: {error}")
    return tuple(sinks)


def _spool(section: Section) -> SpoolSettings:
    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd's, where the unit asks for one
    folder = section.text("folder", f"{state}/spool" if state else "")
    limit = section.number("max_mebibytes", SpoolSettings().limit // MEBIBYTE) * MEBIBYTE
    section.refuse_unknown()
    return SpoolSettings(section.resolved(folder) if folder else None, limit)


def _processes(section: Section) -> int:
    limit = section.number("max_mebibytes", MEMORY // MEBIBYTE)
    section.refuse_unknown()
    if not limit:
        section.error("max_mebibytes", "processes.max_mebibytes is 0", "write how many may be taken, such as 32")
    return limit * MEBIBYTE


def _programs(section: Section) -> ProgramSettings:
    usual = usual_programs()
    folder = section.text("folder", str(usual.folder or ""))
    limit = section.number("compile_seconds", round(usual.limit))
    section.refuse_unknown()
    if not limit:
        section.error(
            "compile_seconds", "programs.compile_seconds is 0", "write how long compiling may take, such as 600"
        )
    return ProgramSettings(section.resolved(folder) if folder else None, limit)


def _egress(section: Section) -> EgressPolicy:
    policy = EgressPolicy(_networks(section, "allow"), _networks(section, "forbid"), _networks(section, "services"))
    section.refuse_unknown()
    return policy


def _networks(section: Section, key: str) -> tuple[Network, ...]:
    networks = []
    for text in section.texts(key):
        try:
            networks.append(ip_network(text))
        except ValueError:
            section.error(key, f"egress.{key}: {text[:80]!r} is no network", "write such as 10.1.2.0/24 or fd00::/8")
    return tuple(networks)


def _metrics(section: Section) -> int:
    port = section.number("port", 0)
    section.refuse_unknown()
    if port > _LAST_PORT:
        section.error("port", f"metrics.port is {port}", "write a port from 1 to 65535, or 0 for none")
    return port


def _set(name: str) -> str:
    """The value of a standard variable of OpenTelemetry: the one for logs, or else the general one; or ""."""
    return os.environ.get(f"OTEL_EXPORTER_OTLP_LOGS_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") or ""


def _log_targets(section: Section) -> tuple[str, ...]:
    targets = section.texts("targets", ("stderr",))
    for target in targets:
        if target not in LOG_TARGETS:
            section.error("targets", f"{target!r} is no target of logs", "one of " + ", ".join(LOG_TARGETS))
    return targets
