"""Certificates of the webhook: good for their names, kept in a Secret, and made anew in time."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tiercel_operator.admission.certificates import (
    Certificates,
    due,
    from_secret,
    kept_or_made,
    make,
    service_names,
    to_secret,
)

NAMES = service_names("tiercel-system", ["127.0.0.1", "::1", "operator.example.com"])
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def made() -> Certificates:
    return make(NAMES, now=NOW)


def shakes_hands(served: Certificates, trusted: bytes, name: str) -> None:
    """A TLS handshake in memory. Raises SSLCertVerificationError."""
    client_in, client_out, server_in, server_out = (ssl.MemoryBIO() for _ in range(4))
    trust = ssl.create_default_context(cadata=trusted.decode())
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    client = trust.wrap_bio(client_in, client_out, server_hostname=name)
    server = _serving(served).wrap_bio(server_in, server_out, server_side=True)
    done = {client: False, server: False}
    while not all(done.values()):
        for side, theirs, other in ((client, client_out, server_in), (server, server_out, client_in)):
            try:
                side.do_handshake()
                done[side] = True
            except ssl.SSLWantReadError:
                pass
            other.write(theirs.read())


def _serving(served: Certificates) -> ssl.SSLContext:
    import tempfile

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(served.certificate + served.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


@pytest.mark.parametrize("name", NAMES)
def test_clients_that_trust_the_authority_trust_the_server(made: Certificates, name: str) -> None:
    shakes_hands(made, made.ca, name)


def test_others_and_other_names_are_not_trusted(made: Certificates) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shakes_hands(made, made.ca, "tiercel-webhook.other.svc")
    with pytest.raises(ssl.SSLCertVerificationError):
        shakes_hands(make(NAMES, now=NOW), made.ca, NAMES[0])


def test_names_of_the_service() -> None:
    names = ("tiercel-webhook.ns.svc", "tiercel-webhook.ns.svc.cluster.local")
    assert service_names("ns") == names


def test_the_certificate_says_no_more_than_it_must(made: Certificates) -> None:
    certificate = x509.load_pem_x509_certificate(made.certificate)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert made.not_after - made.not_before == timedelta(days=90)
    assert "PRIVATE" not in repr(made)


def test_a_secret_keeps_them(made: Certificates) -> None:
    data = to_secret(made)
    assert set(data) == {"ca.crt", "tls.crt", "tls.key"}
    assert from_secret(data, NAMES) == made
    assert kept_or_made(data, NAMES, now=NOW + timedelta(days=1)) == made


def test_they_are_due_at_two_thirds_of_their_life(made: Certificates) -> None:
    assert not due(made, NOW)
    assert not due(made, NOW + timedelta(days=59))
    assert due(made, NOW + timedelta(days=60))
    assert due(made, NOW + timedelta(days=1000))
    assert due(made, NOW - timedelta(days=1))
    assert not due(made, NOW - timedelta(minutes=1))


def test_during_a_change_both_are_trusted(made: Certificates) -> None:
    for later in (timedelta(days=61), timedelta(days=500)):
        renewed = kept_or_made(to_secret(made), NAMES, now=NOW + later)
        assert renewed.certificate != made.certificate
        assert renewed.not_after == NOW + later + timedelta(days=90)
        assert renewed.ca.endswith(made.ca)
    recent = make(NAMES, now=NOW, before=made)
    for served in (made, recent):
        shakes_hands(served, recent.ca, NAMES[0])
    # an authority is kept for one change, and not for ever
    assert make(NAMES, now=NOW, before=recent).ca.count(b"BEGIN CERTIFICATE") == 2


def damages(data: dict[str, str], other: dict[str, str]) -> Iterator[dict[str, Any] | None]:
    yield None
    yield {}
    for key in data:
        yield {each: value for each, value in data.items() if each != key}
        yield {**data, key: other[key]}
        for value in ("", "!", base64.b64encode(b"nonsense").decode(), data[key][: len(data[key]) // 2]):
            yield {**data, key: value}
    yield {key: value.encode() for key, value in data.items()} | {"ca.crt": None}
    foreign = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    yield {**data, "tls.key": base64.b64encode(foreign).decode()}


def test_a_damaged_secret_is_made_anew(made: Certificates) -> None:
    for data in damages(to_secret(made), to_secret(make(NAMES, now=NOW))):
        assert from_secret(data or {}, NAMES) is None
        certificates = kept_or_made(data, NAMES, now=NOW)
        assert from_secret(to_secret(certificates), NAMES) == certificates


def test_new_names_want_a_new_certificate(made: Certificates) -> None:
    assert from_secret(to_secret(made), [*NAMES, "10.0.0.1"]) is None
    assert from_secret(to_secret(made), NAMES[:1]) == made
