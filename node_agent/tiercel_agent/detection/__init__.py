"""From the kernel's records to events."""
