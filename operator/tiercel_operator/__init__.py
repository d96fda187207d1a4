"""The operator: kopf handlers and what they render."""
