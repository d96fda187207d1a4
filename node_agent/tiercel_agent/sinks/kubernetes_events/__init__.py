"""Kubernetes Events on the pod or node that an alert is about."""
