"""What the beginning of an AdmissionReview says, which is read without reading the object that a tenant has written.

The API server writes the fields of a request in the order of their definition: uid, kind, name and namespace come
before the object. Whoever reads the whole request checks that it is about the same namespace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

HEAD: Final = 4096
"""Bytes that are looked at."""
_UID = re.compile(rb'"uid"\s*:\s*"([-0-9A-Za-z]{1,64})"')
_NAMESPACE = re.compile(rb'"namespace"\s*:\s*"([-a-z0-9]{1,63})"')
_NAME = re.compile(rb'"name"\s*:\s*"([-.a-z0-9]{1,253})"')


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The request's id, and the namespace and name of the object. "" for what isn't there."""

    uid: str
    namespace: str
    name: str

    @classmethod
    def of(cls, body: bytes) -> RequestHead:
        head = body[:HEAD]
        found = (pattern.search(head) for pattern in (_UID, _NAMESPACE, _NAME))
        return cls(*(each[1].decode() if each is not None else "" for each in found))
