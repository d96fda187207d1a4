"""Container runtimes, asked over their sockets: the CRI, containerd's own interface, Docker's."""
