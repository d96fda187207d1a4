"""What the API server refuses by itself, what it is told of others, and what is repaired."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from cluster_support.custom_resources import rule
from custom_objects import manifest
from deployment import SYSTEM, Kubectl, until

EXEC = "evt.type = execve"


@pytest.fixture
def knows_cel(kubectl: Kubectl) -> None:
    version = yaml.safe_load(kubectl("version", "-o", "json").stdout)["serverVersion"]
    if (int(version["major"]), int(version["minor"].rstrip("+"))) < (1, 25):
        pytest.skip(f"Kubernetes {version['gitVersion']} knows no CEL: 1.25 or newer does")


@pytest.mark.usefixtures("knows_cel")
@pytest.mark.parametrize(
    ("kind", "spec", "told"),
    [
        ("SecurityRule", {"rules": [{"rule": "x", "macro": "y"}]}, "an item has exactly one of"),
        ("AlertSink", {"stdout": {}, "file": {"path": "/var/log/alerts"}}, "exactly one destination"),
        (
            "AlertSink",
            {"http": {"url": "https://example.com", "urlFrom": {"secretRef": {"name": "a", "key": "b"}}}},
            "either url or urlFrom",
        ),
    ],
)
def test_the_schema_refuses(kubectl: Kubectl, namespace: str, kind: str, spec: dict[str, Any], told: str) -> None:
    for options in ((), ("--dry-run=server",)):
        text = manifest(kind, "bad", namespace, **spec)
        done = kubectl("apply", "--validate=false", *options, "-f", "-", text=text, check=False)
        assert done.returncode != 0
        assert told in done.stderr


def test_a_name_that_is_taken_and_a_macro_that_is_in_use(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(manifest("SecurityRule", "terms", namespace, rules=[{"macro": "mine", "condition": EXEC}]))
    uses = manifest("SecurityRule", "uses", namespace, rules=[rule("Seen", "mine")])
    until(lambda: kubectl.apply(uses, check=False).returncode == 0, "operator that has seen the macro")
    taken = manifest("SecurityRule", "zz", namespace, rules=[rule("Seen", EXEC)])

    def refusal() -> str:
        done = kubectl("apply", "--validate=false", "--dry-run=server", "-f", "-", text=taken, check=False)
        return done.stderr if done.returncode else ""

    assert f"SecurityRule {namespace}/uses has a rule of this name already" in until(refusal, "refusal")
    without = manifest("SecurityRule", "terms", namespace, rules=[{"macro": "other", "condition": EXEC}])
    done = kubectl.apply(without)
    assert f"this breaks SecurityRule {namespace}/uses" in done.stderr


def test_a_bundle_that_others_have_edited_is_repaired(kubectl: Kubectl) -> None:
    def data() -> dict[str, str]:
        stored: dict[str, str] = kubectl.read("configmap", "tiercel-bundle-0", "-n", SYSTEM).get("data") or {}
        return stored

    until(data, "bundle")
    patch = '{"data": {"bundle.json": "edited"}}'
    kubectl("patch", "configmap", "tiercel-bundle-0", "-n", SYSTEM, "--type=merge", "-p", patch)
    until(lambda: data().get("bundle.json", "edited") != "edited", "bundle as it was")
