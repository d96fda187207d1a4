"""Names that no other container of the machine has."""

from __future__ import annotations

import uuid


def unique_name(prefix: str = "tiercel") -> str:
    """Containers of ``ctr`` are named alike in cgroups, whichever containerd they belong to."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"
