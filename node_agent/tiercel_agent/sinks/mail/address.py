"""Addresses of mail as they are configured: ``tiercel@example.org`` or ``Tiercel <tiercel@example.org>``."""

from __future__ import annotations

import re
from email.headerregistry import Address
from email.utils import parseaddr

from tiercel_agent.sinks.model import BadSink
from tiercel_engine.printable import printable

_LOCAL = re.compile(r"[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,64}")
_DOMAIN = re.compile(r"[0-9A-Za-z-]{1,63}(?:\.[0-9A-Za-z-]{1,63})*")
_LITERAL = re.compile(r"\[(?:[0-9.]{7,15}|IPv6:[0-9a-fA-F:.]{2,45})\]")


def mail_address(text: str, setting: str) -> Address:
    """Raises BadSink, which names the setting.

    A domain's name with other characters than ASCII is as the DNS has it; such characters before the @ stay, for
    servers that take them.
    """
    if any(not character.isprintable() for character in text):
        raise BadSink(f"{setting} has a line break or a control character in it")
    name, address = parseaddr(text.strip())
    local, _, domain = address.rpartition("@")
    domain = domain if _LITERAL.fullmatch(domain) else _ascii(domain)
    dots = local.startswith(".") or local.endswith(".") or ".." in local
    if dots or not _LOCAL.fullmatch(local) or not (_DOMAIN.fullmatch(domain) or _LITERAL.fullmatch(domain)):
        raise BadSink(f"{setting}: {printable(text[:80])!r} is no address of mail (write name@example.org)")
    return Address(name, local, domain)


def _ascii(domain: str) -> str:
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return ""
