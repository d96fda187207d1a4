"""Workloads: what container runtimes and the Kubernetes API say about the containers of this node.

Data flows one way: ``runtimes`` and ``cluster`` send requests in threads of their own, ``inventory`` joins the answers,
and the detector reads them there. No function here makes an event wait.
"""
