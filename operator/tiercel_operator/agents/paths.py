"""Where agents find things, in their container and on the node."""

from __future__ import annotations

BUNDLE = "/etc/tiercel/bundle"
SINKS = "/etc/tiercel/sinks"
CONFIG = "/etc/tiercel/config"
CONFIG_FILE = "tiercel.yaml"

HOST = "/host"
"""The folder of the container below which the node's folders are mounted."""

RUN = "/run"
"""The node's folder of sockets, mounted as a whole. The runtimes' own folders in it are not on every node, and no type
of a hostPath fits one that is missing: with Directory the kubelet refuses the pod, with DirectoryOrCreate it makes the
folder, and without a type the runtime makes it. Besides, once a runtime makes its folder anew, a mount of it would show
the old one for good.
"""

STORAGE = "/var/lib/tiercel"
"""The node's folder of what agents keep over restarts: alerts that wait to be delivered, and compiled programs. It is
the only folder that they write to, and the only one that the kubelet creates where it is missing."""
