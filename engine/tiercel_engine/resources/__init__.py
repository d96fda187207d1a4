"""The custom resources as typed models: their JSON, their schema and their CustomResourceDefinitions.

The models are the source: `crds/` is generated from them. Nothing here talks to Kubernetes.
"""

from __future__ import annotations

from tiercel_engine.resources.alert_sink import AlertSinkSpec, AlertSinkStatus
from tiercel_engine.resources.crd import RESOURCES, crd, crd_yaml, object_schema
from tiercel_engine.resources.encoding import from_json, to_json
from tiercel_engine.resources.node_agent import NodeAgentStatus
from tiercel_engine.resources.resource import Condition, ConditionStatus, Resource
from tiercel_engine.resources.security_rule import SecurityRuleSpec, SecurityRuleStatus

__all__ = [
    "RESOURCES",
    "AlertSinkSpec",
    "AlertSinkStatus",
    "Condition",
    "ConditionStatus",
    "NodeAgentStatus",
    "Resource",
    "SecurityRuleSpec",
    "SecurityRuleStatus",
    "crd",
    "crd_yaml",
    "from_json",
    "object_schema",
    "to_json",
]
