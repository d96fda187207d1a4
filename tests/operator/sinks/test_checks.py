"""What an AlertSink may be in whose namespace."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiercel_operator.sinks.checks import sink_errors

SYSTEM = "tiercel-system"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
UNTIL = "2026-01-31T12:00:00Z"
SECRET = {"secretRef": {"name": "s", "key": "k"}}


@pytest.mark.parametrize(
    "spec",
    [
        {"events": {}},
        {"events": {}, "match": {}, "throttle": {"window": "24h"}, "format": "template", "template": "{{ rule }}"},
        {
            "events": {},
            "silences": [{"matcher": {}, "until": "2026-01-31T12:00:00+01:00", "owner": "a", "reason": "b"}],
        },
        {"http": {"url": "https://alerts.example.com", "batch": {"size": 10, "wait": "0s"}}},
        {"http": {"url": "https://alerts.example.com:8443/x"}},
        {"http": {"url": "https://198.51.100.7/", "headers": [{"name": "Authorization", "valueFrom": SECRET}]}},
        {"otlp": {"url": "http://collector.monitoring.svc:4318", "tls": {"caFrom": SECRET}}},
        {"slack": {"urlFrom": SECRET}},
        {"syslog": {"address": "udp://[2001:db8::1]:514"}},
        {"email": {"server": "mail.example.com", "from": "a@example.com", "to": ["b@example.com"]}},
        {"notify": {"url": "ntfy://topic"}},
    ],
)
def test_sinks_of_tenants(spec: dict[str, Any]) -> None:
    assert sink_errors(spec, "shop") == ()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"stdout": {}}, "spec.stdout: a sink of this namespace can't touch the node"),
        ({"otlp": {}}, "spec.otlp has no address, and this namespace can't use the agent's"),
        (
            {"otlp": {"urlFrom": SECRET, "protocol": "grpc"}},
            "spec.otlp.protocol: a sink of this namespace can't use grpc",
        ),
        ({"file": {"path": "/var/log/x"}}, "spec.file: a sink of this namespace can't touch the node"),
        ({"program": {"command": ["/bin/x"]}}, "spec.program: a sink of this namespace can't touch the node"),
        ({"syslog": {"address": "unix:///dev/log"}}, "spec.syslog.address: a sink of this namespace can't touch"),
        ({"syslog": {"address": "tcp://127.0.0.1:514"}}, "spec.syslog.address: 127.0.0.1 is the node itself"),
        ({"notify": {"url": "syslog://"}}, "spec.notify.url: a sink of this namespace can't touch the node"),
        ({"notify": {"url": "irc://irc.example.com/x"}}, "spec.notify.url: a sink of this namespace can't have irc://"),
        ({"events": {}, "match": {"rules": ["*"] * 201}}, "spec.match and spec.silences have 201 globs: 200 is"),
        (
            {"events": {}, "silences": [{"matcher": {"fields": {"proc.name": "*a" + "?" * 9}}, "until": UNTIL}]},
            "the glob '*a?????????' has more than 8 of ? and [",
        ),
        (
            {"email": {"server": "localhost", "from": "a", "to": ["b"]}},
            "spec.email.server: localhost is the node itself",
        ),
        *(
            ({"http": {"url": f"http://{host}/x"}}, f"spec.http.url: {shown} is {what}, which a sink")
            for host, shown, what in [
                ("localhost", "localhost", "the node itself"),
                ("LOCALHOST.:80", "localhost.", "the node itself"),
                ("x.localhost", "x.localhost", "the node itself"),
                ("127.8.8.8:9093", "127.8.8.8", "the node itself"),
                ("127.1", "127.1", "the node itself"),
                ("2130706433", "2130706433", "the node itself"),
                ("0x7f000001", "0x7f000001", "the node itself"),
                ("0.0.0.0", "0.0.0.0", "the node itself"),
                ("[::1]:80", "::1", "the node itself"),
                ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1", "the node itself"),
                ("169.254.169.254", "169.254.169.254", "a link-local address"),
                ("[fe80::1%25eth0]", "fe80::1%25eth0", "a link-local address"),
                ("user@169.254.169.254", "169.254.169.254", "a link-local address"),
                ("kubernetes.default", "kubernetes.default", "the cluster's API server"),
                ("kubernetes.default.svc", "kubernetes.default.svc", "the cluster's API server"),
                ("metadata.google.internal", "metadata.google.internal", "the cloud's metadata server"),
            ]
        ),
    ],
)
def test_what_only_the_systems_sinks_may(spec: dict[str, Any], said: str) -> None:
    (error,) = sink_errors(spec, "shop")
    assert error.startswith(said)
    assert error.endswith(")")
    assert sink_errors(spec, SYSTEM) == ()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "spec has no destination: exactly one is needed (one of events, otlp,"),
        ({"events": {}, "stdout": {}}, "spec has events, stdout: exactly one is needed"),
        ({"http": 3}, "spec.http must be a mapping"),
        ({"slack": {"urlFrom": {"secretRef": {"name": "s", "key": "k", "namespace": SYSTEM}}}}, "spec.slack.urlFrom."),
        ({"slack": {"urlFrom": {"secretRef": "s"}}}, "spec.slack.urlFrom.secretRef must be the name and the key"),
        (
            {"slack": {"urlFrom": {"secretRef": {"name": "../../other/secrets/chat", "key": "url"}}}},
            "spec.slack.urlFrom.secretRef: no Secret has such a name or key",
        ),
        (
            {"slack": {"urlFrom": {"secretRef": {"name": "s", "key": ""}}}},
            "spec.slack.urlFrom.secretRef: no Secret has",
        ),
        ({"events": {}, "throttle": {"window": "0s"}}, "spec.throttle.window is zero"),
        ({"events": {}, "throttle": {"window": "1d1ms"}}, "spec.throttle.window is 1d1ms (write 24h at most)"),
        ({"events": {}, "throttle": {"window": "soon"}}, "spec.throttle.window: 'soon' is not a duration"),
        ({"http": {"url": "https://x", "batch": {"size": 1, "wait": "2h"}}}, "spec.http.batch.wait is 2h (write 1h at"),
        ({"email": {"server": "x", "digest": "999999999d"}}, "spec.email.digest is 999999999d (write 24h at most)"),
        ({"events": {}, "format": "template"}, "spec.template is given if spec.format is template"),
        (
            {"events": {}, "format": "template", "template": "{{ proc.nmae }}"},
            "spec.template: line 1, column 4: 'proc.nmae' is no field (did you mean proc.name?)",
        ),
        ({"events": {}, "template": "x"}, "spec.template is given if spec.format is template"),
        ({"events": {}, "silences": [{"until": "2026-02-31T00:00:00Z"}]}, "spec.silences[0].until is no time"),
        ({"events": {}, "silences": [{"until": "tomorrow"}]}, "spec.silences[0].until is no time"),
        ({"http": {"url": "https://u:p@example.com/"}}, "spec.http.url has a password in it (put the address into"),
        (
            {"http": {"url": "https://x", "headers": [{"name": "authorization", "value": "Bearer x"}]}},
            "spec.http.headers[0]: the value of authorization is a secret",
        ),
    ],
)
def test_what_no_sink_may(spec: dict[str, Any], said: str) -> None:
    for namespace in ("shop", SYSTEM):
        (error,) = sink_errors(spec, namespace)
        assert error.startswith(said)


@given(JSON, JSON, st.sampled_from(["http", "notify", "syslog", "email", "slack"]))
def test_whatever_a_sink_says_there_is_an_answer(content: Any, more: Any, kind: str) -> None:
    spec = {kind: {"url": content, "address": more, "server": more, "headers": content, "urlFrom": {"secretRef": more}}}
    assert isinstance(sink_errors(spec, "shop"), tuple)
    assert isinstance(sink_errors({kind: content}, "shop"), tuple)
    more_of_it = {"silences": content, "throttle": more, "template": content, "format": more}
    assert isinstance(sink_errors({kind: {"batch": content, "digest": more}, **more_of_it}, "shop"), tuple)


@given(st.text(max_size=30))
def test_whatever_an_address_says_there_is_an_answer(host: str) -> None:
    assert isinstance(sink_errors({"http": {"url": f"http://{host}"}}, "shop"), tuple)
    assert isinstance(sink_errors({"email": {"server": host}}, "shop"), tuple)
