"""What runs on every node: the agents' DaemonSet and their configuration."""
