"""Where agents find things, in their container and on the node."""

from __future__ import annotations

BUNDLE = "/etc/tiercel/bundle"
SINKS = "/etc/tiercel/sinks"
CONFIG = "/etc/tiercel/config"
CONFIG_FILE = "tiercel.yaml"

NODE = "/proc/1/root"
"""The node's root directory, as the agent sees it through the node's first process: the pod has the node's process ids.

The runtimes' sockets are reached there. So neither /run nor /etc is mounted: the process of tenants' sinks, whom the
kernel doesn't let look at other processes, would find there what everybody may read or write. Folders that are made
anew are followed, too, of which a mount would show the old one for good.
"""

STORAGE = "/var/lib/tiercel"
"""The node's folder of what agents keep over restarts: alerts that wait to be delivered, and compiled programs. It is
the only folder that they write to, and the only one that the kubelet creates where it is missing."""
