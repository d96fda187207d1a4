"""Destinations of alerts, one module each; `opening` makes one of its settings."""
