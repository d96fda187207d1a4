"""Tenants' sinks, which run in a process of their own: another user's, without powers and without the node's files.

``tenant_sinks`` is the agent's end, ``process`` the other one. Neither trusts the other more than it has to: alerts and
settings go one way as values, what became of them comes back as values, and what waits stays with the agent.
"""
