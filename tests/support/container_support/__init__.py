"""Real container runtimes on this machine."""
