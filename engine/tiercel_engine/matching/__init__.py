"""Which rules match an event, and what rules need of events."""
