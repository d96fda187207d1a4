"""Why this machine can't be watched."""

from __future__ import annotations


class DetectorError(Exception):
    """This machine can't be watched; the message is one sentence: what is missing and what to do.

    ``log`` has the lines that a report of the failure should have, if it isn't a known one.
    """

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log
