"""The configuration of the long-running agent, as values."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

from tiercel_agent.delivery.queues.spool_folders import SpoolSettings
from tiercel_agent.events.processes import MEMORY
from tiercel_agent.kernel.bytecode.provider import ProgramSettings, usual_programs
from tiercel_agent.sinks.local.outputs import OutputConfig, StdoutConfig
from tiercel_agent.sinks.model import SinkSettings
from tiercel_agent.sinks.network.egress_policy import EgressPolicy
from tiercel_agent.workloads.settings import WorkloadSettings, found_here
from tiercel_engine.priority import Priority

LOG_LEVELS = ("error", "warning", "info", "debug")
LOG_TARGETS = ("stderr", "syslog")


@dataclass(frozen=True, slots=True)
class LogConfig:
    level: str = "info"
    targets: tuple[str, ...] = ("stderr",)


@dataclass(frozen=True, slots=True)
class NamespaceBudget:
    """What the rules of namespaces other than the system's may take of this agent."""

    namespace_cpu: float = 0.1
    """Seconds of CPU time in a second, for the rules of one namespace."""
    all_cpu: float = 0.3
    """The same for those of all such namespaces together."""
    alerts: int = 200
    """Alerts in a second that the rules of one namespace raise."""


@dataclass(frozen=True, slots=True)
class Config:
    rules: tuple[Path, ...]
    """Files and folders in the order of loading."""
    bundle: Path | None = None
    """In place of rules: the folder where the operator's bundle is mounted."""
    priority: Priority = Priority.DEBUG
    """Rules of a lower priority are not loaded."""
    first_match: bool = False
    """Whether an event raises the alert of the first matching rule alone."""
    flood_limit: int = 100
    """Matches of a rule in one cgroup that are reported one by one in a second, and as many that are unlike
    others; 0: all."""
    process_memory: int = MEMORY
    """Bytes that what is known of processes may take."""
    namespace_budget: NamespaceBudget = NamespaceBudget()
    hostname: str = ""
    json: bool = True
    outputs: tuple[OutputConfig, ...] = (StdoutConfig(),)
    sinks: tuple[SinkSettings, ...] = ()
    """The agent's own, in the order of the file."""
    sinks_file: Path | None = None
    """Where the operator's AlertSinks are mounted."""
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    egress: EgressPolicy = field(default_factory=EgressPolicy)
    """Which addresses tenants' sinks may reach."""
    metrics_port: int = 0
    """The port for Prometheus and probes; 0: none."""
    secrets: bool = False
    """Whether alerts show passwords and tokens of command lines and environments."""
    programs: ProgramSettings = field(default_factory=usual_programs)
    log: LogConfig = LogConfig()
    pid_file: Path | None = None
    workloads: WorkloadSettings = field(default_factory=found_here)


def default_hostname() -> str:
    """The Kubernetes node's name where the pod tells it, else the machine's."""
    return os.environ.get("NODE_NAME") or platform.node()
