"""SecurityRules: the bundle for the agents, and the objects' statuses."""
