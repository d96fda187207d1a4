"""From a record of the kernel to an event with fields."""
