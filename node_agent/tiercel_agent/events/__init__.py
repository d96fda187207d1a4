"""From a record of the kernel to an event with fields.

``kernel_record`` decodes what the kernel recorded, ``syscall_record`` adds the context for look-ups, ``fields``
computes fields from that, and ``live`` is the event that rules read. ``processes`` keeps what each process executes.
"""
