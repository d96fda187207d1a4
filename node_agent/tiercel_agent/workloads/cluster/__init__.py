"""The Kubernetes API, as far as a node's agent watches it: this node's pods, and what they belong to."""
