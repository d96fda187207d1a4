"""Tiercel's rule language and its evaluation: pure Python, no kernel, no cluster."""

__version__ = "0.1.0"
"""The version of the whole distribution: pyproject.toml reads it from here, and so does everything else."""
