"""The API group of the custom resources and its version. All code that reads, writes or watches them uses these."""

from __future__ import annotations

from typing import Final

API_GROUP: Final = "tiercel.dev"
"""The API group, which is also the prefix of Tiercel's own labels and annotations."""

VERSION: Final = "v1alpha1"

API_VERSION: Final = f"{API_GROUP}/{VERSION}"
"""The value of ``apiVersion`` in an object."""
