"""What the replicas of the operator share to serve the webhook, in a Secret: certificates, and the secret of its path.

A new certificate is made in time, and waits. Its authority is trusted first: it goes into ``trusted``, which goes into
the webhook's configuration. Once the API server has it there, and not before, the certificate is served. The authority
of the one before stays trusted until the next change, for replicas that hear of the change later.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tiercel_engine.located import located
from tiercel_operator.admission.certificates import LIFETIME, Certificates, make, read, split
from tiercel_operator.admission.door import new_token

LOGGER = logging.getLogger(__name__)

_CA, _CERTIFICATE, _KEY = "ca.crt", "tls.crt", "tls.key"
_NEXT_CERTIFICATE, _NEXT_KEY, _TOKEN = "next.crt", "next.key", "token"
_SHORTEST_TOKEN = 32


@dataclass(frozen=True, slots=True)
class Keyring:
    """``serving`` is served, ``coming`` will be. ``earlier`` is the authority, in PEM, of what was served before."""

    serving: Certificates
    token: str = field(repr=False)
    coming: Certificates | None = None
    earlier: bytes = b""

    @property
    def trusted(self) -> bytes:
        """The authorities that the API server has to trust, in PEM, the newest first."""
        return (self.coming.ca if self.coming is not None else b"") + self.serving.ca + self.earlier


def begun(
    data: Mapping[str, str] | None,
    names: Iterable[str],
    lifetime: timedelta = LIFETIME,
    *,
    now: datetime | None = None,
) -> Keyring:
    """The keyring of a Secret, with a new certificate or token in place of one that is missing, is damaged or has run
    out, or isn't for all of the names."""
    now = now or datetime.now(UTC)
    wanted = tuple(names)
    stored = _Stored.of(data or {})
    token = stored.token if len(stored.token) >= _SHORTEST_TOKEN else new_token()
    found = (read(*pair, stored.authorities, wanted) if all(pair) else None for pair in stored.pairs)
    serving, coming = (each if each is not None and now < each.not_after else None for each in found)
    if serving is None:
        serving, coming = coming or make(wanted, lifetime, now=now), None
    known = {serving.ca, coming.ca if coming is not None else b""}
    earlier = next((each for each in stored.authorities if each not in known), b"")
    return Keyring(serving, token, coming, earlier)


def advanced(
    keyring: Keyring,
    names: Iterable[str],
    lifetime: timedelta = LIFETIME,
    *,
    coming_is_trusted: bool,
    now: datetime | None = None,
) -> Keyring:
    """The keyring after the next step of a change of certificates; the same if there is none to do now."""
    now = now or datetime.now(UTC)
    if keyring.coming is not None:
        return Keyring(keyring.coming, keyring.token, None, keyring.serving.ca) if coming_is_trusted else keyring
    if keyring.serving.is_due(now):
        return Keyring(keyring.serving, keyring.token, make(names, lifetime, now=now), keyring.earlier)
    return keyring


def to_secret(keyring: Keyring) -> dict[str, str]:
    """``data`` of a Secret of the type kubernetes.io/tls."""
    contents = {
        _CA: keyring.trusted,
        _CERTIFICATE: keyring.serving.certificate,
        _KEY: keyring.serving.key,
        _TOKEN: keyring.token.encode(),
    }
    if keyring.coming is not None:
        contents |= {_NEXT_CERTIFICATE: keyring.coming.certificate, _NEXT_KEY: keyring.coming.key}
    return {key: base64.b64encode(value).decode() for key, value in contents.items()}


@dataclass(frozen=True, slots=True)
class _Stored:
    """What a Secret has, b"" and "" for what it hasn't."""

    authorities: list[bytes]
    pairs: tuple[tuple[bytes, bytes], tuple[bytes, bytes]]
    """Certificate and key, of those that are served and those that will be."""
    token: str

    @classmethod
    def of(cls, data: Mapping[str, str]) -> _Stored:
        def content(key: str) -> bytes:
            try:
                return base64.b64decode(data.get(key) or "", validate=True)
            except (TypeError, ValueError, binascii.Error) as error:
                LOGGER.warning("%s in the Secret can't be used: %s", key, located(error))
                return b""

        try:
            authorities = split(content(_CA)) if data.get(_CA) else []
        except ValueError as error:
            LOGGER.warning("%s in the Secret can't be used: %s", _CA, located(error))
            authorities = []
        pairs = (content(_CERTIFICATE), content(_KEY)), (content(_NEXT_CERTIFICATE), content(_NEXT_KEY))
        token = content(_TOKEN)
        return cls(authorities, pairs, token.decode() if token.isascii() else "")
