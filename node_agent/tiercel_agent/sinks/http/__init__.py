"""Sinks that are spoken to over HTTP with Falco's JSON, CloudEvents or a template, and Alertmanager."""
