"""The agents' DaemonSet and configuration."""
