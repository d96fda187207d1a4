"""The agent as a service: its start, stop, reload and status."""
