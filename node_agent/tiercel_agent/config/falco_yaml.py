"""Reads a falco.yaml. Keys mean what Falco's documentation says; a warning names each key that has no effect here."""

from __future__ import annotations

from pathlib import Path

from tiercel_agent.config.falco_outputs import falco_sinks
from tiercel_agent.config.model import Config, LogConfig, default_hostname
from tiercel_agent.config.section import Section
from tiercel_agent.sinks.local.outputs import FileConfig, OutputConfig, StdoutConfig
from tiercel_agent.workloads.settings import found_here
from tiercel_engine.resources.alert_sink import Format

_OWN_KEYS = frozenset({"rules", "format", "outputs", "log", "pid_file"})
_RULES_KEYS = frozenset({"rules_file", "rules_files"})
_FALCO_KEYS = frozenset(
    {"json_output", "stdout_output", "file_output", "program_output", "http_output"}
    | {"syslog_output", "log_level", "log_stderr", "log_syslog", "engine", "plugins", "load_plugins", "webserver"}
)
# Falco logs in syslog's eight levels.
_LOG_LEVELS = {
    "emergency": "error",
    "alert": "error",
    "critical": "error",
    "error": "error",
    "warning": "warning",
    "notice": "info",
    "info": "info",
    "informational": "info",
    "debug": "debug",
}


def recognised(settings: Section) -> bool:
    keys = set(settings.keys)
    # In a falco.yaml, `rules` switches rules on and off.
    return bool(keys & _RULES_KEYS) or (bool(keys & _FALCO_KEYS) and not keys & _OWN_KEYS)


def translate(settings: Section) -> Config:
    targets = [
        target
        for target, key, default in (("stderr", "log_stderr", False), ("syslog", "log_syslog", True))
        if settings.boolean(key, default)
    ]
    json = settings.boolean("json_output", False)
    translated = Config(
        rules=_existing_rules(settings),
        priority=settings.priority("priority"),
        first_match=settings.choice("rule_matching", ("all", "first"), "first") == "first",
        hostname=default_hostname(),
        json=json,
        outputs=_outputs(settings),
        sinks=falco_sinks(settings, Format.JSON if json else Format.TEXT),
        workloads=found_here(_sockets(settings)),
        log=LogConfig(_LOG_LEVELS[settings.choice("log_level", _LOG_LEVELS, "info")], tuple(targets)),
    )
    if not (translated.outputs or translated.sinks):
        settings.unsupported("stdout_output", "no alert is written anywhere: enable stdout_output or file_output")
    settings.warn_unknown()
    return translated


def _sockets(settings: Section) -> tuple[Path, ...]:
    """The runtimes' sockets, from where Falco's versions have had them."""
    cri = settings.section("container_engines").section("cri")
    return cri.paths("sockets")


def _existing_rules(settings: Section) -> tuple[Path, ...]:
    """Falco passes over rules files that don't exist (its own list names optional ones)."""
    key = "rules_files" if "rules_files" in settings else "rules_file"
    paths = [*settings.paths("rules_file"), *settings.paths("rules_files")]
    existing = tuple(path for path in paths if _exists(path))
    for path in paths:
        if path not in existing:
            settings.unsupported(key, f"the rules file {path} doesn't exist and is passed over")
    if not existing:
        settings.error(key, "none of the rules files exists", "list files and folders under rules_files:")
    return existing


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be searched
        return False


def _outputs(settings: Section) -> tuple[OutputConfig, ...]:
    outputs: list[OutputConfig] = []
    if settings.section("stdout_output").boolean("enabled", False):
        outputs.append(StdoutConfig())
    file = settings.section("file_output")
    if file.boolean("enabled", False):
        filename = file.text("filename")
        if filename:
            outputs.append(FileConfig(file.resolved(filename), file.boolean("keep_alive", False)))
        else:
            file.error("filename", "file_output has no filename", "add filename: /var/log/alerts.txt")
    return tuple(outputs)
