"""OpenTelemetry logs over OTLP."""
