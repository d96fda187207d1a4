"""What this machine's kernel has and allows."""
