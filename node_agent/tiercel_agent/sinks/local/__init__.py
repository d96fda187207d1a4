"""Sinks of this machine: standard output, files and programs."""
