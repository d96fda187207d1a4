"""The destinations of alerts, by kind. `factory.py` opens one from its settings."""
