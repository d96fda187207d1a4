"""The API group of the custom resources and its version: whoever writes, reads or watches them takes both from here."""

from __future__ import annotations

from typing import Final

API_GROUP: Final = "tiercel.dev"
"""Also the prefix of Tiercel's own labels and annotations."""

VERSION: Final = "v1alpha1"

API_VERSION: Final = f"{API_GROUP}/{VERSION}"
"""What stands in ``apiVersion`` of an object."""
