"""From the kernel's records to alerts."""
