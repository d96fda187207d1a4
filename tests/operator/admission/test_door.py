"""Who is answered at the webhook's port, and what others can cost."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from operator_support.running_webhook import RULE, TOKEN, Serve, review_of

from tiercel_operator.admission import door
from tiercel_operator.admission import webhook as module
from tiercel_operator.admission.certificates import Certificates, make
from tiercel_operator.admission.door import ClientCertificates
from tiercel_operator.admission.request_head import HEAD
from tiercel_operator.admission.webhook import LARGEST_BODY


@pytest.mark.parametrize(
    "path", ["/validate", "/validate/", "/validate/guess", f"/validate/{TOKEN[:-1]}", f"/validate/{TOKEN}/", "/other"]
)
def test_whoever_doesnt_know_the_path_is_answered_before_the_body_is_read(serve: Serve, path: str) -> None:
    running = serve()
    with contextlib.closing(running.connection()) as connection:
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", str(LARGEST_BODY))
        connection.endheaders()  # and no body
        assert connection.getresponse().status == 404
    assert running.response(RULE)["allowed"]


def test_a_change_of_the_token_goes_by_without_a_gap(serve: Serve) -> None:
    running = serve()
    running.webhook.tokens = ("the-next-token", TOKEN)
    assert running.response(RULE)["allowed"]
    assert running.ask(review_of(RULE), path="/validate/the-next-token")[0] == 200


def test_a_client_certificate_is_asked_for_if_the_api_server_has_one(serve: Serve, tmp_path: Path) -> None:
    mine, other, kubelets = (
        client_certificate(tmp_path / file, name)
        for file, name in (("mine", "api-server"), ("other", "api-server"), ("kubelet", "kubelet"))
    )
    running = serve(clients=ClientCertificates(mine.read_text() + kubelets.read_text(), ("api-server",)))
    assert running.ask(review_of(RULE), presented=str(mine))[0] == 200
    assert running.ask(review_of(RULE), presented=str(kubelets))[0] == 403
    for unknown in ("", str(other)):
        with pytest.raises((ssl.SSLError, OSError)):
            running.ask(review_of(RULE), presented=unknown)


def client_certificate(file: Path, name: str) -> Path:
    """Writes a certificate of a client, which is its own authority, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(certificate.public_bytes(pem) + private)
    return file


def test_connections_that_say_nothing_keep_nobody_out(serve: Serve) -> None:
    running = serve()
    silent = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(3 * door.MOST_STRANGERS)]
    try:
        assert running.response(RULE)["allowed"]
        until(lambda: sum(not is_closed(each) for each in silent) <= door.MOST_STRANGERS)
    finally:
        for each in silent:
            each.close()


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_no_more_than_the_beginning_is_here_of_what_waits_for_its_turn(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each namespace one body is read at once, and of all as many as there are turns."""
    running = serve()
    begun = [module._read]
    monkeypatch.setattr(module, "_PATIENCE", 60.0)
    read: list[int] = []

    async def reads(content: Any, most: int = LARGEST_BODY) -> bytes:
        part: bytes = await begun[0](content, most)
        read.append(len(part))
        return part

    monkeypatch.setattr(module, "_read", reads)
    body = review_of({**RULE, "desc": "x" * 3_000_000})
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            sending = stack.enter_context(contextlib.closing(running.connection()))
            sending.putrequest("POST", f"/validate/{TOKEN}")
            sending.putheader("Content-Length", str(len(body)))
            sending.endheaders(body[:HEAD])  # the first of them holds the turn of its namespace
        until(lambda: len(read) == 8)
        assert max(read) < 100_000
        assert running.response(RULE, namespace="bank")["allowed"]
        assert sum(read) < 1_000_000


def until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it didn't come about")


def test_a_new_certificate_is_used_without_a_restart(serve: Serve, certificates: Certificates) -> None:
    running = serve()
    with contextlib.closing(running.connection()) as kept:
        kept.request("POST", f"/validate/{TOKEN}", review_of(RULE))
        kept.getresponse().read()
        renewed = make(["127.0.0.1"])
        running.use(renewed)
        kept.request("POST", f"/validate/{TOKEN}", review_of(RULE))  # a connection stays as it is
        assert kept.getresponse().status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        running.response(RULE)
    running.trusted = renewed.ca
    assert running.response(RULE)["allowed"]


def test_old_tls_is_refused(serve: Serve) -> None:
    running = serve()
    trust = ssl.create_default_context(cadata=running.trusted.decode())
    trust.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        trust.minimum_version = trust.maximum_version = ssl.TLSVersion.TLSv1_1
    connection = http.client.HTTPSConnection("127.0.0.1", running.port, timeout=30, context=trust)
    with contextlib.closing(connection), pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|EOF"):
        connection.request("GET", "/")
