"""Exact evaluation: typed conditions against events, by generated Python."""
