"""Reads the agent's configuration file: Tiercel's own form, or a falco.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tiercel_agent.config import falco_yaml, tiercel_yaml
from tiercel_agent.config.model import (
    Config,
    LogConfig,
    default_hostname,
)
from tiercel_agent.config.section import open_settings
from tiercel_agent.sinks.local.outputs import FileConfig, OutputConfig, StdoutConfig
from tiercel_engine.diagnostics import Diagnostic, Location, Severity
from tiercel_engine.rules.documents.files import read_text
from tiercel_engine.rules.documents.report import Report

__all__ = [
    "Config",
    "FileConfig",
    "LogConfig",
    "OutputConfig",
    "ReadConfig",
    "StdoutConfig",
    "default_hostname",
    "parse_config",
    "read_config",
]


@dataclass(frozen=True, slots=True)
class ReadConfig:
    """``config`` is None if there are errors."""

    config: Config | None
    errors: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]


def read_config(path: Path) -> ReadConfig:
    """Reads Tiercel's own form or a falco.yaml. Raises nothing."""
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        message = f"cannot read the file: {reason}"
        place = Location(str(path), 1, 1)
        return ReadConfig(None, (Diagnostic(Severity.ERROR, "CONFIG_FILE_READ", message, place, "file"),), ())
    return parse_config(str(path), text)


def parse_config(name: str, text: str) -> ReadConfig:
    """``name`` is the file's path: diagnostics name it, and relative paths start from its folder."""
    report = Report()
    settings = open_settings(name, text, report)
    config = None
    if settings is not None:
        form = falco_yaml if falco_yaml.recognised(settings) else tiercel_yaml
        config = form.translate(settings)
    return ReadConfig(None if report.errors else config, report.errors, report.warnings)
