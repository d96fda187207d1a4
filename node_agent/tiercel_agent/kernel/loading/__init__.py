"""Loading and attaching eBPF programs."""
