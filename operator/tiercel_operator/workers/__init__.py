"""Processes that do one piece of work each, within limits that the kernel keeps, so that nothing costs more."""
