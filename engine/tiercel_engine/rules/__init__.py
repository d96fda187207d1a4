"""Rules files: reads them from disk, parses them with exact positions, resolves and compiles what they define."""

from __future__ import annotations

from tiercel_engine.rules.documents.files import RulesFile, read_rules
from tiercel_engine.rules.loader import load

__all__ = ["RulesFile", "load", "read_rules"]
