"""Destinations of alerts, one module each."""
