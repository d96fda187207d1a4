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

from tiercel_operator.admission.certificates import Certificates, make, service_names
from tiercel_operator.admission.keyring import Keyring, advanced, begun, to_secret

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


def test_they_are_due_at_two_thirds_of_their_life(made: Certificates) -> None:
    assert not made.is_due(NOW)
    assert not made.is_due(NOW + timedelta(days=59))
    assert made.is_due(NOW + timedelta(days=60))
    assert made.is_due(NOW + timedelta(days=1000))
    assert made.is_due(NOW - timedelta(days=1))
    assert not made.is_due(NOW - timedelta(minutes=1))


@pytest.fixture(scope="module")
def keyring() -> Keyring:
    return begun(None, NAMES, now=NOW)


def step(keyring: Keyring, days: int, *, trusted: bool) -> Keyring:
    """The next step of a replica, which reads the Secret that has this keyring."""
    now = NOW + timedelta(days=days)
    stored = begun(to_secret(keyring), NAMES, now=now)
    assert stored == keyring
    return advanced(stored, NAMES, coming_is_trusted=trusted, now=now)


def test_a_secret_keeps_them(keyring: Keyring) -> None:
    data = to_secret(keyring)
    assert set(data) == {"ca.crt", "tls.crt", "tls.key", "token"}
    assert begun(data, NAMES, now=NOW + timedelta(days=1)) == keyring
    assert keyring.trusted == keyring.serving.ca
    assert keyring.token not in repr(keyring)


def test_a_new_certificate_waits_until_its_authority_is_trusted() -> None:
    keyring = begun(None, NAMES, now=NOW - timedelta(days=61))
    waiting = step(keyring, 0, trusted=False)
    assert waiting.serving == keyring.serving
    assert waiting.coming is not None
    for certificates in (waiting.serving, waiting.coming):
        shakes_hands(certificates, waiting.trusted, NAMES[0])
    assert step(waiting, 1, trusted=False) == waiting
    renewed = step(waiting, 1, trusted=True)
    assert renewed.serving == waiting.coming
    assert renewed.coming is None
    # replicas that haven't heard of it go on with the one before
    for certificates in (keyring.serving, renewed.serving):
        shakes_hands(certificates, renewed.trusted, NAMES[0])
    assert step(renewed, 2, trusted=False) == renewed


def test_an_authority_is_kept_for_one_change_and_not_for_ever(keyring: Keyring) -> None:
    second = step(step(keyring, 61, trusted=False), 61, trusted=True)
    third = step(step(second, 130, trusted=False), 130, trusted=True)
    assert third.trusted == third.serving.ca + second.serving.ca
    assert third.token == keyring.token


def test_without_a_good_one_the_coming_or_a_new_one_is_served_at_once(keyring: Keyring) -> None:
    waiting = step(keyring, 61, trusted=False)
    assert waiting.coming is not None
    assert begun(to_secret(waiting), NAMES, now=NOW + timedelta(days=91)).serving == waiting.coming
    late = begun(to_secret(waiting), NAMES, now=NOW + timedelta(days=500))
    assert late.serving not in (waiting.serving, waiting.coming)
    assert late.serving.not_before == NOW + timedelta(days=500)


def damages(data: dict[str, str], other: dict[str, str]) -> Iterator[dict[str, Any] | None]:
    yield None
    yield {}
    for key in ("ca.crt", "tls.crt", "tls.key"):
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


def test_a_damaged_secret_is_made_anew(keyring: Keyring) -> None:
    for data in damages(to_secret(keyring), to_secret(begun(None, NAMES, now=NOW))):
        repaired = begun(data, NAMES, now=NOW)
        assert repaired.serving != keyring.serving
        assert begun(to_secret(repaired), NAMES, now=NOW) == repaired
        shakes_hands(repaired.serving, repaired.trusted, NAMES[0])


@pytest.mark.parametrize("token", ["", "!", "c2hvcnQ=", "/w=="])
def test_a_token_that_can_be_guessed_is_made_anew(keyring: Keyring, token: str) -> None:
    repaired = begun(to_secret(keyring) | {"token": token}, NAMES, now=NOW)
    assert repaired.serving == keyring.serving
    assert len(repaired.token) >= 32
    assert repaired.token != keyring.token


def test_new_names_want_a_new_certificate(keyring: Keyring) -> None:
    assert begun(to_secret(keyring), [*NAMES, "10.0.0.1"], now=NOW).serving != keyring.serving
    assert begun(to_secret(keyring), NAMES[:1], now=NOW).serving == keyring.serving
