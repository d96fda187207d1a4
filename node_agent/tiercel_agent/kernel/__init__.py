"""The kernel side: BTF, compiling and loading the programs of bpf/, maps and ring buffers."""
