"""What the kernel's filter knows: verdicts on calls that no rule can match, learned from those that came through.

The kernel side is bpf/filter.h, which tells how it works.
"""
