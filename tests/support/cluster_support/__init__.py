"""A real Kubernetes API server, and objects in it."""
