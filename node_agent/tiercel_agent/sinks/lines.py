"""One line an alert, whatever the form of alerts is: templates put in what attackers wrote as it is."""

from __future__ import annotations

import re

from tiercel_engine.printable import printable, printable_json

_SPACE = re.compile(r"[\t\n\r]")


def one_line(form: bytes) -> bytes:
    """An alert's form as one line without its end, UTF-8, with nothing in it that a terminal or a reader acts on.

    JSON stays JSON that says the same: there, line ends and tabs are mere space.
    """
    text = form.decode("utf-8", "replace").strip()
    if text.startswith(("{", "[")):
        text = printable_json(_SPACE.sub(" ", text).encode()).decode()
    return printable(text).encode()  # what only looked like JSON may have control characters still
