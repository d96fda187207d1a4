"""From rules files to rules that are ready to run."""

from __future__ import annotations

from collections.abc import Sequence

from tiercel_engine.rule import Loaded
from tiercel_engine.rules.compiler import Compiler
from tiercel_engine.rules.definitions import collect
from tiercel_engine.rules.documents.files import RulesFile
from tiercel_engine.rules.documents.items import Statement
from tiercel_engine.rules.documents.reader import read_statements
from tiercel_engine.rules.documents.report import Report
from tiercel_engine.rules.documents.source import Source


def load(files: Sequence[RulesFile]) -> Loaded:
    """The rules that the files define together, taken in the order given, and everything wrong with them.

    A rule with an error is left out, and takes no other rule with it; a file that is not YAML takes
    no other file with it. Raises nothing, whatever the files say.
    """
    report = Report(file.name for file in files)
    statements: list[Statement] = []
    for file in files:
        source = Source(file.name, file.text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}"))
        statements += read_statements(source, report)
    rules = Compiler(collect(statements, report), report).rules()
    return Loaded(rules, report.errors, report.warnings)
