"""``tiercel agent``: the node agent as a service, for the DaemonSet and for a systemd unit."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

import click

from tiercel_agent import logs
from tiercel_agent.config import Config, read_config
from tiercel_agent.delivery.dispatcher import Dispatcher
from tiercel_agent.delivery.fan_out import FanOut
from tiercel_agent.delivery.tenants.tenant_sinks import TenantSinks
from tiercel_agent.detection.detector import open_detector
from tiercel_agent.detection.partial import restrictions
from tiercel_agent.evaluation.loop import EngineLoop
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.logs import LOGGER, located
from tiercel_agent.metrics import Metrics, serve_metrics
from tiercel_agent.service.agent import Agent
from tiercel_agent.service.alert_sinks import AlertSinks
from tiercel_agent.service.node_status import Reporter
from tiercel_agent.service.pid_file import AlreadyRunning, pid_file
from tiercel_agent.service.reload import Reloader, log_diagnostics, log_refused
from tiercel_agent.service.sd_notify import Notifier
from tiercel_agent.sinks.factory import check_sink
from tiercel_agent.sinks.local.outputs import open_output
from tiercel_agent.sinks.model import BadSink, Place
from tiercel_agent.sinks.network.egress_policy import CurrentEgressPolicy, api_hosts
from tiercel_agent.workloads.cluster.api import connect
from tiercel_agent.workloads.settings import NoCluster
from tiercel_cli.options import CANNOT_WATCH
from tiercel_engine.diagnostics import render

FAILED = 1
_FILES = 65536


@click.command()
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The configuration: a tiercel.yaml or a falco.yaml.",
)
def agent(path: Path) -> None:
    """Run the node agent as a service, with a configuration file.

    SIGHUP reloads the configuration and the rules. Changed rules files are noticed and loaded without a signal. Rules
    with errors are refused, and the old rules stay. SIGUSR1 reopens output files. SIGTERM ends the agent.
    """
    read = read_config(path)
    for diagnostic in (*read.errors, *read.warnings):
        click.echo(render(diagnostic, colour=sys.stderr.isatty()), err=True)
    if read.config is None:
        sys.exit(FAILED)
    logs.set_up(read.config.log)
    try:
        with pid_file(read.config.pid_file) if read.config.pid_file else contextlib.nullcontext():
            _run(path, read.config)
    except DetectorError as error:
        for line in (str(error), *error.log.splitlines()):
            LOGGER.critical("%s", line)
        sys.exit(CANNOT_WATCH)
    except (AlreadyRunning, BadSink) as error:
        LOGGER.critical("%s", error)
        sys.exit(FAILED)
    except OSError as error:
        LOGGER.critical("%s%s (%s)", f"{error.filename}: " if error.filename else "", error.strerror, located(error))
        sys.exit(FAILED)


def _reporter(config: Config) -> Reporter | None:
    """The reporter to the operator, for an agent that gets its rules from it; None for others."""
    if config.bundle is None or not config.workloads.kubernetes:
        return None
    try:
        return Reporter(connect(config.workloads.kubeconfig), config.workloads.node)
    except NoCluster as error:
        raise DetectorError(str(error)) from error


def _metrics(config: Config, place: Place) -> Metrics | None:
    if not config.metrics_port:
        return None
    return serve_metrics(config.metrics_port, hostname=place.hostname, node=place.node)


def _allow_more_files() -> None:
    """Raises the limit of open files: each sink needs a few, and the usual limit is enough for about 200 sinks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _run(path: Path, config: Config) -> None:
    _allow_more_files()
    reloader = Reloader(path, config)
    rules = reloader.load_now()
    log_diagnostics((*rules.errors, *rules.warnings))
    log_refused(rules)
    if rules.errors and config.bundle is None:  # a new bundle may come later
        LOGGER.critical("rules with errors: nothing is started")
        sys.exit(FAILED)
    place = Place.of(config.hostname, config.workloads)
    kubeconfig = config.workloads.kubeconfig
    egress = CurrentEgressPolicy(config.egress, api_hosts(kubeconfig) if kubeconfig is not None else ())
    for sink in config.sinks:
        check_sink(sink, place)
    dispatcher = Dispatcher(TenantSinks(place, egress.now).open, config.spool)
    outputs = FanOut(dispatcher)
    for output in config.outputs:
        outputs.add(output.name, open_output(output, json=config.json))
    notifier, metrics = Notifier(), _metrics(config, place)

    def busy() -> None:
        notifier.busy()
        if metrics is not None:
            metrics.alive()

    source = open_detector(
        rules.requirements,
        rules.rules,
        config.flood_limit,
        workloads=config.workloads,
        programs=config.programs,
        meanwhile=busy,
        process_memory=config.process_memory,
    )
    for line in restrictions(source):
        LOGGER.warning("%s", line)
    try:
        running = Agent(
            source=source,
            loop=EngineLoop(
                source,
                rules,
                outputs,
                hostname=config.hostname,
                secrets=config.secrets,
                budget=config.namespace_budget,
            ),
            outputs=outputs,
            reloader=reloader,
            rules=rules,
            notifier=notifier,
            sinks=AlertSinks(config.sinks_file, config.sinks, dispatcher, place, egress.set_cluster),
            reporter=_reporter(config),
            metrics=metrics,
        )
        running.handle_signals()
        running.run()
    finally:
        source.close()
