"""What the API server admits of agents: each writes for its own node alone.

RBAC can't tell the agents of nodes apart, which all have the same account. Since Kubernetes 1.30, the token of a pod's
service account names the node that the pod runs on, and policies can ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tiercel_engine.api_group import API_GROUP
from tiercel_operator.agents.settings import AgentSettings

POLICIES_SINCE = (1, 30)
"""The version of Kubernetes from which there are such policies, and tokens that name a node."""

OWN_STATUS = "tiercel-agents-own-status"
OWN_EVENTS = "tiercel-agents-own-events"
"""The names of the policies and of their bindings."""

_API_VERSION = "admissionregistration.k8s.io/v1"
_CLAIM = "authentication.kubernetes.io/node-name"
_CONTROLLER = f"{API_GROUP}/agent"  # as agents name themselves in Events
_LONGEST_INSTANCE = 128  # characters of a node's name in an Event

_NODE = (
    f'has(request.userInfo.extra) && "{_CLAIM}" in request.userInfo.extra'
    f' && size(request.userInfo.extra["{_CLAIM}"]) == 1 ? request.userInfo.extra["{_CLAIM}"][0] : ""'
)
_INSTANCE = (
    f"size(variables.node) > {_LONGEST_INSTANCE} ? variables.node.substring(0, {_LONGEST_INSTANCE}) : variables.node"
)
_KNOWN = {
    "expression": 'variables.node != ""',
    "reason": "Forbidden",
    "message": "the agent's token doesn't tell its node: it must be one that the kubelet has mounted into a pod",
}


def agent_policies(settings: AgentSettings, owner: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """The policies and their bindings, as JSON. ``owner`` is an owner reference to an object without a namespace."""
    own_status = {
        "expression": "object.metadata.name == variables.node",
        "reason": "Forbidden",
        "message": "an agent writes the NodeAgent of its own node alone",
    }
    yield from _policy(
        *(OWN_STATUS, settings, owner, API_GROUP, ["nodeagents", "nodeagents/status"]),
        [{"name": "node", "expression": _NODE}],
        [_KNOWN, own_status],
    )
    own = f'object.reportingController == "{_CONTROLLER}" && object.reportingInstance == variables.instance'
    old = own.replace("object.", "oldObject.")
    own_events = {
        "expression": f'{own} && (request.operation == "CREATE" || {old})',
        "reason": "Forbidden",
        "message": "an agent writes Events in its own node's name alone, and changes no others",
    }
    yield from _policy(
        *(OWN_EVENTS, settings, owner, "events.k8s.io", ["events"]),
        [{"name": "node", "expression": _NODE}, {"name": "instance", "expression": _INSTANCE}],
        [_KNOWN, own_events],
    )


def _policy(
    name: str,
    settings: AgentSettings,
    owner: Mapping[str, Any] | None,
    group: str,
    resources: Sequence[str],
    variables: Sequence[Mapping[str, Any]],
    validations: Sequence[Mapping[str, Any]],
) -> Iterator[dict[str, Any]]:
    account = f"system:serviceaccount:{settings.namespace}:{settings.name}"
    metadata: dict[str, Any] = {"name": name, "labels": {"app.kubernetes.io/name": "tiercel"}}
    if owner is not None:
        metadata["ownerReferences"] = [dict(owner)]
    rule = {"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": [*resources]}
    yield {
        "apiVersion": _API_VERSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata,
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "matchConditions": [{"name": "an-agent", "expression": f'request.userInfo.username == "{account}"'}],
            "variables": [*variables],
            "validations": [*validations],
        },
    }
    yield {
        "apiVersion": _API_VERSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata,
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
