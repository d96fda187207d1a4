"""Receivers and servers on loopback, and a model of the kernel's filter, for the agent's tests."""
