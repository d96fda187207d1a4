"""The certificates that the webhook serves with, each with the authority by which the API server verifies it.

Each certificate has an authority of its own. The authority's key is thrown away once it has signed the certificate, so
that nobody can sign another one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tiercel_engine.located import located

LOGGER = logging.getLogger(__name__)

SERVICE: Final = "tiercel-webhook"
LIFETIME: Final = timedelta(days=90)
_SKEW = timedelta(hours=1)
"""How far the clock of an API server may be behind the operator's."""
_PEM = serialization.Encoding.PEM
_DAMAGED = (
    *(TypeError, ValueError, StopIteration, UnsupportedAlgorithm),
    *(x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
"""What the library raises for a Secret whose content is damaged."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """All in PEM. ``ca`` is the authority, ``key`` is the private key of the certificate."""

    ca: bytes
    certificate: bytes
    key: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime

    def is_due(self, now: datetime) -> bool:
        """Whether it is time for new certificates: two thirds of the lifetime are over, or the clock was set far
        back."""
        return not -_SKEW <= now - self.not_before < (self.not_after - self.not_before) * 2 / 3


def service_names(namespace: str, more: Iterable[str] = ()) -> tuple[str, ...]:
    """The names of the webhook's Service, and ``more`` names and addresses by which the webhook is called."""
    service = f"{SERVICE}.{namespace}.svc"
    return (service, f"{service}.cluster.local", *more)


def make(names: Iterable[str], lifetime: timedelta = LIFETIME, *, now: datetime | None = None) -> Certificates:
    """A new certificate for these names and addresses."""
    begin = (now or datetime.now(UTC)).replace(microsecond=0)
    end = begin + lifetime
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _authority(ca_key, begin, end)
    certificate = _serving(key, names, authority, ca_key, begin, end)
    private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Certificates(authority.public_bytes(_PEM), certificate.public_bytes(_PEM), private, begin, end)


def read(certificate: bytes, key: bytes, authorities: Iterable[bytes], names: Iterable[str]) -> Certificates | None:
    """A certificate with its key and the one of the authorities that has signed it. None if something is damaged or
    doesn't fit together, or it isn't for all of the names."""
    try:
        parsed = x509.load_pem_x509_certificate(certificate)
        private = serialization.load_pem_private_key(key, None)
        if private.public_key() != parsed.public_key() or not {*names} <= _names(parsed):
            return None
        ca = next(each for each in authorities if _has_signed(each, parsed))
    except _DAMAGED as error:
        LOGGER.warning("certificates in the Secret can't be used: %s", located(error))
        return None
    return Certificates(ca, certificate, key, parsed.not_valid_before_utc + _SKEW, parsed.not_valid_after_utc)


def split(pem: bytes) -> list[bytes]:
    """The certificates of a text in PEM, one by one. Raises ValueError if it has none, or one of them is damaged."""
    return [each.public_bytes(_PEM) for each in x509.load_pem_x509_certificates(pem)]


def _has_signed(authority: bytes, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
    except (ValueError, InvalidSignature):
        return False
    return True


def _names(certificate: x509.Certificate) -> set[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    return {*names.get_values_for_type(x509.DNSName), *map(str, addresses)}


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: str, issuer: x509.Name | None, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    serial = x509.random_serial_number()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{subject} {serial:040x}")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(begin - _SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority(key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime) -> x509.Certificate:
    return (
        _builder("tiercel-ca", None, key, begin, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _serving(
    key: ec.EllipticCurvePrivateKey,
    names: Iterable[str],
    authority: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    begin: datetime,
    end: datetime,
) -> x509.Certificate:
    return (
        _builder(SERVICE, authority.subject, key, begin, end)
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
