"""How much of the disk and of memory each sink may use. No sink can take another's part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

Key = tuple[str, str]
"""Namespace and name of a sink."""


def quotas(trusted: Iterable[Key], tenants: Iterable[Key], whole: int) -> Mapping[Key, int]:
    """The part of each of ``whole``: tenants' sinks have half of it together, evenly by namespace, whatever the number
    of sinks there. The others have the rest, or all if there are no tenants' ones."""
    own, theirs = list(trusted), list(tenants)
    by_namespace = Counter(namespace for namespace, _ in theirs)
    half = whole // 2
    parts = {key: (half if theirs else whole) // len(own) for key in own}
    return parts | {key: half // len(by_namespace) // by_namespace[key[0]] for key in theirs}
