"""Look-ups that may never end, such as those in files of a server that doesn't answer: made by a process of their own.

The thread that detects reads nothing itself that a file server, or a process by its memory, may leave unanswered. It
asks here (``lookups.py``), and waits for a bounded time.
"""
