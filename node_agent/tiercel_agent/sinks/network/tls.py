"""TLS as a sink has it configured."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from tiercel_agent.sinks.model import BadSink, SinkSettings
from tiercel_engine.resources.destinations import Tls

_HOST = re.compile(r"[0-9A-Za-z_:%-][0-9A-Za-z_.:%-]{0,252}")
_EXAMPLE = "-----BEGIN CERTIFICATE-----"


def tls_context(tls: Tls | None, settings: SinkSettings) -> ssl.SSLContext:
    """How a client verifies the other side, and with what it is known there. Raises BadSink.

    Without ``tls``: by the system's authorities. All sinks have that one in common: it takes more than a megabyte.
    """
    if tls is None:
        return _usual(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))
    context = _verifying(tls, settings)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if (tls.cert_from is None) != (tls.key_from is None):
        raise BadSink("tls.certFrom and tls.keyFrom are given together, or neither")
    if tls.cert_from is not None and tls.key_from is not None:
        _load(context, settings.secret(tls.cert_from), settings.secret(tls.key_from))
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def server_name(tls: Tls | None) -> str | None:
    """The name that is asked for and that the certificate must have, as the DNS has it; None if it is the address's.

    Raises BadSink.
    """
    if tls is None or not tls.server_name:
        return None
    try:
        name = tls.server_name.encode("idna").decode()
    except UnicodeError:
        name = ""
    if not _HOST.fullmatch(name):
        raise BadSink("tls.serverName must be a host's name or address")
    return name


@cache
def _usual(_file: str, _folder: str) -> ssl.SSLContext:
    """By the system's authorities, which these variables may move."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _verifying(tls: Tls, settings: SinkSettings) -> ssl.SSLContext:
    if tls.ca_from is None:
        return ssl.create_default_context()
    authorities = settings.secret(tls.ca_from)
    try:
        return ssl.create_default_context(cadata=authorities)
    except (ssl.SSLError, ValueError, TypeError):  # the last: what isn't ASCII
        raise BadSink(f"tls.caFrom isn't certificates in PEM, which begin with {_EXAMPLE}") from None


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    with _file(certificate) as certificate_path, _file(key) as key_path:
        try:
            context.load_cert_chain(certificate_path, key_path, password=_no_password)
        except ssl.SSLError as error:
            raise BadSink(_load_trouble(error)) from None


def _load_trouble(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "tls.keyFrom isn't the key of the certificate tls.certFrom"
    return f"tls.certFrom isn't a certificate in PEM, which begins with {_EXAMPLE}, or tls.keyFrom isn't its key in PEM"


def _no_password() -> str:
    # Without this, OpenSSL would ask a terminal.
    raise BadSink("tls.keyFrom is encrypted: give a key without a passphrase")


@contextmanager
def _file(text: str) -> Iterator[str]:
    """The path of a file in memory alone, which nobody but this process can open: OpenSSL reads keys from files."""
    descriptor = os.memfd_create("tiercel-tls")
    try:
        os.fchmod(descriptor, 0o600)
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(text.encode("utf-8", "replace"))
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
