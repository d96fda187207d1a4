"""AlertSinks: what the agents are given of them, and the objects' statuses."""
