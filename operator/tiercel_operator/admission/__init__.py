"""The admission webhook and its certificates."""
