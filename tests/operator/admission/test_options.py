"""Options of the operator about who may ask the webhook."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from tiercel_cli import operator as module
from tiercel_operator.admission.certificates import make
from tiercel_operator.main import Settings


def outcome(options: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, list[Settings]]:
    """The exit status, the last line, and the settings with which the operator would run."""
    started: list[Settings] = []
    monkeypatch.setattr(module, "run", started.append)
    done = CliRunner().invoke(module.operator, options)
    return done.exit_code, done.output.rstrip().split("\n")[-1], started


def test_a_client_certificate_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(make(["api-server"]).ca)
    options = ["--webhook-client-ca", str(file), "--webhook-client-name", "a", "--webhook-client-name", "b"]
    status, _, (settings,) = outcome(options, monkeypatch)
    assert status == 0
    assert settings.endpoint is not None
    assert settings.endpoint.clients is not None
    assert settings.endpoint.clients.names == ("a", "b")
    assert settings.endpoint.clients.authority == file.read_text()


def test_without_the_option_none_is(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, (settings,) = outcome([], monkeypatch)
    assert settings.endpoint is not None
    assert settings.endpoint.clients is None


@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_without_a_certificate_is_refused(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ca.crt"
    file.write_text(content)
    status, told, started = outcome(["--webhook-client-ca", str(file)], monkeypatch)
    assert (status, started) == (2, [])
    assert "--webhook-client-ca" in told
    assert "no certificate in PEM" in told


def test_names_without_an_authority_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    status, told, started = outcome(["--webhook-client-name", "api-server"], monkeypatch)
    assert (status, told, started) == (2, "Error: --webhook-client-name needs --webhook-client-ca", [])
