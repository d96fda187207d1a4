"""From the C sources in bpf/ to bytecode: the compiler, and the cache of its results."""
