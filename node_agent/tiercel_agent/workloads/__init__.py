"""Workloads: what the container runtime and the Kubernetes API tell of the containers of this node.

Data flows one way: ``runtimes`` and ``cluster`` ask, in threads of their own; ``inventory`` puts together
what they tell; the detector takes it from there. Nothing here ever makes an event wait by itself.
"""
