"""The certificate that the webhook serves with, and the authority by which the API server verifies it.

Each certificate has an authority of its own. The authority's key is thrown away once it has signed the certificate, so
that nobody can sign another one. While a certificate is being replaced, some replicas serve with the old one and some
with the new one. Therefore ``ca`` holds both authorities, the newer one first, and it has to be in the webhook's
configuration before any replica serves with the new certificate.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Mapping
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
_CA, _CERTIFICATE, _KEY = "ca.crt", "tls.crt", "tls.key"
_PEM = serialization.Encoding.PEM
_DAMAGED = (
    *(KeyError, TypeError, ValueError, InvalidSignature, UnsupportedAlgorithm),
    *(x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
"""What the library raises for a Secret whose content is damaged."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """All in PEM. ``ca`` are the authorities, ``key`` is the private key of the certificate."""

    ca: bytes
    certificate: bytes
    key: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime


def service_names(namespace: str, more: Iterable[str] = ()) -> tuple[str, ...]:
    """The names of the webhook's Service, and ``more`` names and addresses by which the webhook is called."""
    service = f"{SERVICE}.{namespace}.svc"
    return (service, f"{service}.cluster.local", *more)


def make(
    names: Iterable[str],
    lifetime: timedelta = LIFETIME,
    *,
    now: datetime | None = None,
    before: Certificates | None = None,
) -> Certificates:
    """A new certificate for these names and addresses. Whoever trusts its ``ca`` trusts the certificate ``before``
    too."""
    begin = (now or datetime.now(UTC)).replace(microsecond=0)
    end = begin + lifetime
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _authority(ca_key, begin, end)
    certificate = _serving(key, names, authority, ca_key, begin, end)
    trusted = authority.public_bytes(_PEM)
    if before is not None:
        trusted += _authorities(before.ca)[0].public_bytes(_PEM)
    private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Certificates(trusted, certificate.public_bytes(_PEM), private, begin, end)


def due(certificates: Certificates, now: datetime) -> bool:
    """Whether it is time for new certificates: two thirds of the lifetime are over, or the clock was set far back."""
    age, lifetime = now - certificates.not_before, certificates.not_after - certificates.not_before
    return not -_SKEW <= age < lifetime * 2 / 3


def kept_or_made(
    data: Mapping[str, str] | None,
    names: Iterable[str],
    lifetime: timedelta = LIFETIME,
    *,
    now: datetime | None = None,
) -> Certificates:
    """The certificates of a Secret, if they are valid for these names and not due; otherwise new ones, which the caller
    writes into the Secret by ``to_secret``."""
    wanted = tuple(names)
    stored = from_secret(data or {}, wanted)
    if stored is not None and not due(stored, now or datetime.now(UTC)):
        return stored
    return make(wanted, lifetime, now=now, before=stored)


def to_secret(certificates: Certificates) -> dict[str, str]:
    """``data`` of a Secret of the type kubernetes.io/tls."""
    contents = {_CA: certificates.ca, _CERTIFICATE: certificates.certificate, _KEY: certificates.key}
    return {key: base64.b64encode(value).decode() for key, value in contents.items()}


def from_secret(data: Mapping[str, str], names: Iterable[str]) -> Certificates | None:
    """The certificates of a Secret; None if something is missing or damaged, doesn't fit together, or isn't for all of
    the names."""
    try:
        ca, written, key = (base64.b64decode(data[each], validate=True) for each in (_CA, _CERTIFICATE, _KEY))
        certificate = x509.load_pem_x509_certificate(written)
        private = serialization.load_pem_private_key(key, None)
        certificate.verify_directly_issued_by(_authorities(ca)[0])
        if private.public_key() != certificate.public_key() or not {*names} <= _names(certificate):
            return None
    except _DAMAGED as error:
        if data:
            LOGGER.warning("the certificates in the Secret can't be used: %s", located(error))
        return None
    return Certificates(ca, written, key, certificate.not_valid_before_utc + _SKEW, certificate.not_valid_after_utc)


def _authorities(pem: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem)


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
