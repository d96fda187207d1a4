"""What an event's process belongs to: its container, its users, the files and hosts that it names.

Everything here reads what an attacker may have written, and asks about processes that may be gone:
an answer is a value or None, never an error.
"""
