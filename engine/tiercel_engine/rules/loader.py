"""Loads rules files: from their text to rules that are ready to run."""

from __future__ import annotations

from collections.abc import Sequence

from tiercel_engine.rule import LoadedRules
from tiercel_engine.rules.compiler import RuleCompiler
from tiercel_engine.rules.definitions import collect_definitions
from tiercel_engine.rules.documents.files import RulesFile
from tiercel_engine.rules.documents.items import Statement
from tiercel_engine.rules.documents.reader import read_statements
from tiercel_engine.rules.documents.report import Report
from tiercel_engine.rules.documents.source_file import SourceFile


def load(files: Sequence[RulesFile]) -> LoadedRules:
    """The rules that the files define together, read in the order given, and all their errors and warnings.

    A rule with an error is left out and does not affect other rules. A file that is not YAML does not affect other
    files. Raises nothing, whatever the files contain.
    """
    report = Report(file.name for file in files)
    statements: list[Statement] = []
    for file in files:
        source = SourceFile(file.name, file.text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}"))
        statements += read_statements(source, report)
    rules = RuleCompiler(collect_definitions(statements, report), report).rules()
    return LoadedRules(rules, report.errors, report.warnings)
