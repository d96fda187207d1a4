"""Rules on events: alerts, what they may take, and what was lost."""
