"""The texts that people read of losses and warnings: there is one for each kind, and it names what is concerned."""

from __future__ import annotations

import pytest

from tiercel_agent import loss, warning
from tiercel_agent.loss import Loss
from tiercel_agent.warning import AgentWarning
from tiercel_engine.resources.node_agent import LossCause, WarningKind


@pytest.mark.parametrize("cause", LossCause)
def test_each_cause_of_loss_has_a_text_that_begins_with_what_was_lost(cause: LossCause) -> None:
    text = loss.describe(Loss(cause, rule="R", output="stdout", sink="chat", error="KeyError"))
    beginnings = {"calls": "system calls", "processes": "process starts", "lookups": "look-ups"}
    unit = Loss(cause).unit
    assert text.startswith(beginnings.get(unit, unit))


def test_texts_name_who_is_concerned() -> None:
    assert "'several'" not in loss.describe(Loss(LossCause.RATE_LIMIT))
    assert loss.describe(Loss(LossCause.RATE_LIMIT, rule="shop/Bob's")) == (
        """system calls that "shop/Bob's" may match: too many at once"""
    )
    assert loss.describe(Loss(LossCause.CALL_BUFFER_FULL, by=loss.LostBy("/a", "abc", "shop/web"))) == (
        "system calls, because the ring buffer was full, in pod shop/web, container abc"
    )
    assert loss.describe(Loss(LossCause.CALL_BUFFER_FULL, by=loss.LostBy("/user.slice"))).endswith("cgroup /user.slice")
    losses = {Loss(LossCause.SINK_FAILED, sink="shop/chat"): 3, Loss(LossCause.OUTPUT_FAILED, output="stdout"): 1}
    assert loss.listed(losses) == (
        "3 (alerts for sink shop/chat: it failed for too long, or refused them), "
        "1 (alerts for output stdout: it was too slow or failed)"
    )


@pytest.mark.parametrize("kind", WarningKind)
def test_each_warning_has_a_text(kind: WarningKind) -> None:
    text = warning.describe(AgentWarning(kind, ("shop/web", "node-1"), "the reason"))
    assert "shop/web" in text or "the reason" in text
