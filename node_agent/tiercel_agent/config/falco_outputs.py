"""The outputs of a falco.yaml that leave the machine, or the process, as sinks."""

from __future__ import annotations

import shlex

from tiercel_agent.config.section import Section
from tiercel_agent.sinks.model import SinkSettings
from tiercel_engine.resources import destinations as to
from tiercel_engine.resources.alert_sink import AlertSinkSpec, Format
from tiercel_engine.resources.destinations import SecretRef, SecretSource

_OPERATORS = frozenset("();<>|&")
_EXPANSIONS = frozenset("$`")

_PEM_FILES = ("ca_cert", "ca_bundle", "client_cert", "client_key")


def falco_sinks(settings: Section, form: Format) -> tuple[SinkSettings, ...]:
    """``form`` is how alerts are written."""
    return (
        *_syslog(settings.section("syslog_output"), form),
        *_program(settings.section("program_output"), form),
        *_http(settings.section("http_output"), form),
    )


def _syslog(section: Section, form: Format) -> tuple[SinkSettings, ...]:
    if not section.boolean("enabled", False):
        return ()
    # Falco's own facility.
    return (SinkSettings("syslog", AlertSinkSpec(syslog=to.SyslogSink("unix:///dev/log", "user"), format=form)),)


def _program(section: Section, form: Format) -> tuple[SinkSettings, ...]:
    enabled, program = section.boolean("enabled", False), section.text("program")
    kept_alive = section.boolean("keep_alive", False)
    if not enabled:
        return ()
    try:
        command = tuple(shlex.split(program))
        needs_shell = _needs_shell(program)
    except ValueError as error:
        section.error("program", f"program_output.program can't be split into arguments: {error}")
        return ()
    if not command:
        section.error("program", "program_output has no program", "add program: /usr/local/bin/mine argument")
    elif needs_shell:
        section.error(
            "program",
            "program_output.program is written for a shell, and none is started here",
            "put the command into an executable script, and name that",
        )
    if not kept_alive:
        section.unsupported("keep_alive", "the program is started once and reads all alerts, one a line")
    return (SinkSettings("program", AlertSinkSpec(program=to.ProgramSink(command), format=form)),)


def _needs_shell(program: str) -> bool:
    """Whether something in it means more to a shell than a word. Raises ValueError for an open quotation."""
    words = shlex.shlex(program, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    return any(set(word) <= _OPERATORS for word in words if word) or bool(_EXPANSIONS & set(program))


def _http(section: Section, form: Format) -> tuple[SinkSettings, ...]:
    enabled, url = section.boolean("enabled", False), section.text("url")
    insecure, compressed = section.boolean("insecure", False), section.boolean("compress_uploads", False)
    wanted = {"ca_cert", "ca_bundle"} | ({"client_cert", "client_key"} if section.boolean("mtls", False) else set())
    files = {key: _file(section, key, read=enabled and key in wanted) for key in _PEM_FILES}
    for key in ("user_agent", "echo", "keep_alive", "ca_path", "max_consecutive_timeouts"):
        section.text(key)
    if not enabled:
        return ()
    if not url:
        section.error("url", "http_output has no url", "add url: https://host:port/path")
    secrets = {"url/url": url} | {f"tls/{key}": content for key, content in files.items() if content}
    authorities = next((key for key in ("ca_cert", "ca_bundle") if files[key]), "")
    tls = to.Tls(
        ca_from=_of("tls", authorities) if authorities else None,
        cert_from=_of("tls", "client_cert") if files["client_cert"] and files["client_key"] else None,
        key_from=_of("tls", "client_key") if files["client_cert"] and files["client_key"] else None,
        insecure_skip_verify=insecure,
    )
    sink = to.HttpSink(url_from=_of("url", "url"), compression=to.Compression.GZIP if compressed else None, tls=tls)
    return (SinkSettings("http", AlertSinkSpec(http=sink, format=form), secrets=secrets),)


def _of(name: str, key: str) -> SecretSource:
    return SecretSource(SecretRef(name, key))


def _file(section: Section, key: str, *, read: bool) -> str:
    name = section.text(key)
    if not name or not read:
        return ""
    path = section.resolved(name)
    try:
        return path.read_text()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        section.error(key, f"http_output.{key}: {path} can't be read: {reason}")
        return ""
