"""The kernel: what it offers, compiling and loading the programs of bpf/ into it, maps and ring buffers."""
