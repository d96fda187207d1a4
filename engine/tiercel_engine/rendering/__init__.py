"""The text of an alert: output templates, sinks' templates, and the masking of secrets."""
