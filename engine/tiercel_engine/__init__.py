"""Tiercel's rule language and its evaluation: pure Python, no kernel, no cluster."""
