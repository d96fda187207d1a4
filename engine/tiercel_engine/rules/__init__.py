"""Rules files: read from disk, taken apart with exact positions, put together, compiled to rules."""

from __future__ import annotations

from tiercel_engine.rules.documents.files import RulesFile, read_rules
from tiercel_engine.rules.loader import load

__all__ = ["RulesFile", "load", "read_rules"]
