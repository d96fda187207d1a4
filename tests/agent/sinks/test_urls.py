"""A sink as one URL: what each form means, and that nothing of a URL but its scheme is in an error."""

from __future__ import annotations

from typing import Any

import pytest

from tiercel_agent.sinks.model import BadSink
from tiercel_agent.sinks.urls import FORMS, sink_of_url
from tiercel_engine.resources.encoding import to_json

SECRET = {"secretRef": {"name": "url", "key": "url"}}


@pytest.mark.parametrize(
    ("url", "spec", "secret"),
    [
        ("https://a.example/x", {"http": {"urlFrom": SECRET}, "format": "json"}, "https://a.example/x"),
        ("HTTP://a.example", {"http": {"urlFrom": SECRET}, "format": "json"}, "http://a.example"),
        ("cloudevents+https://a/x", {"http": {"urlFrom": SECRET}, "format": "cloudevents"}, "https://a/x"),
        (
            "otlp+http://a:4318/v1/logs",
            {"otlp": {"urlFrom": SECRET, "protocol": "http/protobuf"}},
            "http://a:4318/v1/logs",
        ),
        ("otlp+grpc://a:4317", {"otlp": {"urlFrom": SECRET, "protocol": "grpc"}}, "http://a:4317"),
        ("otlp+grpcs://a:4317", {"otlp": {"urlFrom": SECRET, "protocol": "grpc"}}, "https://a:4317"),
        ("otlp://a:4317", {"otlp": {"urlFrom": SECRET, "protocol": "grpc"}}, "http://a:4317"),
        ("syslog://a:5514", {"syslog": {"address": "udp://a:5514"}}, None),
        ("alertmanager://a:9093", {"alertmanager": {"urlFrom": SECRET}}, "http://a:9093"),
        ("syslog+tls://a:6514", {"syslog": {"address": "tls://a:6514"}}, None),
        ("syslog:///dev/log", {"syslog": {"address": "unix:///dev/log"}}, None),
        ("syslog:", {"syslog": {"address": "unix:///dev/log"}}, None),
        ("alertmanager+http://a:9093", {"alertmanager": {"urlFrom": SECRET}}, "http://a:9093"),
        ("slack+https://hooks.example/T/B", {"slack": {"urlFrom": SECRET}}, "https://hooks.example/T/B"),
        ("notify+tgram://token/chat", {"notify": {"urlFrom": SECRET}}, "tgram://token/chat"),
        ("file:///var/log/a%20b", {"file": {"path": "/var/log/a b"}, "format": "json"}, None),
        ("stdout:", {"stdout": {}}, None),
        ("events:", {"events": {}}, None),
        ("program:/bin/x 'a b' c", {"program": {"command": ["/bin/x", "a b", "c"]}, "format": "json"}, None),
        (
            "smtp://ada:p%40ss@mail.example:2525/?from=a@x&to=b@x&to=c@x",
            {
                "email": {
                    "server": "mail.example",
                    "from": "a@x",
                    "to": ["b@x", "c@x"],
                    "port": 2525,
                    "username": "ada",
                    "passwordFrom": SECRET,
                }
            },
            "p@ss",
        ),
        (
            "smtps://mail.example/?from=a@x&to=b@x",
            {"email": {"server": "mail.example", "from": "a@x", "to": ["b@x"], "startTls": "implicit"}},
            None,
        ),
    ],
)
def test_what_the_forms_mean(url: str, spec: dict[str, Any], secret: str | None) -> None:
    settings = sink_of_url(url, "1")
    assert to_json(settings.spec) == spec
    assert settings.trusted
    assert not secret or settings.secrets["url/url"] == secret


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("nonsense", "it has no scheme"),
        ("gopher://a", "'gopher' is no kind of sink"),
        ("otlp+tcp://a", "'otlp+tcp' is no kind of sink"),
        ("http://[::1", "can't be read as an address"),
        ("file://relative", "three slashes"),
        ("program:", "there is no command"),
        ("program:'a", "can't be split into arguments"),
        ("smtp://mail.example/?from=a@x", "mail needs a server and receivers"),
        ("smtp://mail.example:x/?to=a@x", "port"),
    ],
)
def test_what_is_wrong_is_said(url: str, wanted: str) -> None:
    with pytest.raises(BadSink) as error:
        sink_of_url(url, "1")
    assert wanted in str(error.value)


def test_no_secret_of_a_url_is_in_an_error() -> None:
    for url in ("http://user:hunter2@[::1", "x+y://hunter2", "smtp://a:hunter2@mail:99999999/?to=a@x", "hunter2"):
        with pytest.raises(BadSink) as error:
            sink_of_url(url, "1")
        assert "hunter2" not in str(error.value)


def test_all_kinds_are_shown() -> None:
    for kind in "http otlp syslog alertmanager slack smtp file stdout events program notify cloudevents".split():
        assert kind in FORMS
