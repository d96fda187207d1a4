"""The configuration by which the API server knows the webhook."""

from __future__ import annotations

from tiercel_operator.admission.certificates import make, split
from tiercel_operator.admission.configuration import trusts, webhook_configuration

TOKEN = "a-token-that-nobody-but-the-api-server-knows"


def test_the_configuration_never_blocks() -> None:
    configuration = webhook_configuration("tiercel-system", b"pem", TOKEN)
    (hook,) = configuration["webhooks"]
    assert (hook["failurePolicy"], hook["timeoutSeconds"], hook["sideEffects"]) == ("Ignore", 5, "None")
    (rule,) = hook["rules"]
    assert rule["operations"] == ["CREATE", "UPDATE"]
    assert rule["resources"] == ["securityrules", "alertsinks"]
    path = f"/validate/{TOKEN}"
    assert hook["clientConfig"] == {
        "service": {"name": "tiercel-webhook", "namespace": "tiercel-system", "path": path, "port": 443},
        "caBundle": "cGVt",
    }
    url = "https://127.0.0.1:9443/validate"
    (outside,) = webhook_configuration("tiercel-system", b"pem", TOKEN, url)["webhooks"]
    assert outside["clientConfig"] == {"url": f"{url}/{TOKEN}", "caBundle": "cGVt"}


def test_a_configuration_trusts_an_authority_that_each_of_its_webhooks_has() -> None:
    one, two = make(["a"]).ca, make(["a"]).ca
    configuration = webhook_configuration("tiercel-system", one + two, TOKEN)
    assert all(trusts(configuration, each) for each in split(one + two))
    assert not trusts(configuration, make(["a"]).ca)
    assert not trusts(None, one)
    configuration["webhooks"] *= 2
    configuration["webhooks"][1] = webhook_configuration("tiercel-system", two, TOKEN)["webhooks"][0]
    assert not trusts(configuration, one)
    assert trusts(configuration, two)
