"""Tenants that try to blind a node with what they may create, beside what the node's own rules must see."""
