"""What the kernel's filter is told: the rules as clauses, tables of names, and rows learned from what came through.

The kernel side is bpf/filter.h and what it names, which tell how it works.
"""
