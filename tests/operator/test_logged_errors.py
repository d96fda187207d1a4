"""Errors that the operator handles: what its log says of them."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from kubernetes.dynamic.exceptions import ForbiddenError

from tiercel_operator.admission.keyring import begun
from tiercel_operator.cluster.kube import error_text
from tiercel_operator.cluster.state import State


def test_an_answer_of_the_api_server_is_logged_with_its_message_and_type() -> None:
    answer = SimpleNamespace(status=403, reason="Forbidden", body=b'{"message": "secrets is forbidden"}', headers={})
    assert error_text(ForbiddenError(answer)) == "403 secrets is forbidden (ForbiddenError)"


def test_an_answer_without_a_message_is_logged_with_its_reason() -> None:
    answer = SimpleNamespace(status=403, reason="Forbidden", body=b"<html>", headers={})
    assert error_text(ForbiddenError(answer)) == "403 Forbidden (ForbiddenError)"


def test_an_error_is_logged_with_its_place() -> None:
    with pytest.raises(OSError, match="unreachable") as caught:
        raise OSError("unreachable")
    assert re.fullmatch(r"unreachable \(OSError at .*test_logged_errors\.py:\d+\)", error_text(caught.value))


def test_a_node_agent_that_cannot_be_read_is_named(caplog: pytest.LogCaptureFixture) -> None:
    state = State()
    assert not state.take_agent({"metadata": {"name": "n1"}, "status": {"rules": "many"}}, exists=True, now=0.0)
    assert state.agents == {}
    assert re.search(
        r"NodeAgent n1 can't be read: ValueError at tiercel_engine/resources/encoding\.py:\d+", caplog.text
    )


def test_certificates_that_are_damaged_are_told_apart_from_missing_ones(caplog: pytest.LogCaptureFixture) -> None:
    begun({}, ["localhost"])
    assert caplog.text == ""
    begun({"ca.crt": "?", "tls.crt": "?", "tls.key": "?"}, ["localhost"])
    assert "tls.crt in the Secret can't be used: Error at " in caplog.text
