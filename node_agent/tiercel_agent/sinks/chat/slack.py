"""Alerts to Slack: by an incoming webhook, or by a bot's token, with which messages of one incident make a thread."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import urllib3

from tiercel_agent.sinks.chat.slack_blocks import message
from tiercel_agent.sinks.chat.slack_threads import Threads, incident_of
from tiercel_agent.sinks.model import BadSink, Refused, Sink, SinkSettings, Unavailable
from tiercel_agent.sinks.network.http_client import Client, Timeouts
from tiercel_engine.alert import Alert
from tiercel_engine.resources.destinations import SlackSink

API = "https://slack.com/api/"

_JSON = "application/json; charset=utf-8"
_TOKEN = re.compile(r"xox[!-~]{1,1000}")
_CODE = re.compile(r"[a-z_]{1,64}")
_STRANGE = "its answer isn't one of Slack"

_MESSAGES = frozenset(
    {
        *("invalid_attachments", "invalid_blocks", "invalid_blocks_format", "invalid_payload", "metadata_too_large"),
        *("msg_blocks_too_long", "msg_too_long", "no_text", "too_many_attachments"),
    }
)
"""Slack's codes for what is wrong with the message itself."""

_HINTS: Mapping[str, str] = {
    "account_inactive": "the bot was removed: give another token",
    "channel_is_archived": "choose another channel",
    "channel_not_found": "is the channel right, and is the bot in it?",
    "invalid_auth": "is the token right?",
    "invalid_token": "is the webhook's address right?",
    "is_archived": "choose another channel",
    "missing_scope": "the bot needs the scope chat:write",
    "no_service": "the webhook was removed: make another",
    "not_authed": "is the token right?",
    "not_in_channel": "invite the bot to the channel",
    "token_expired": "give another token",
    "token_revoked": "give another token",
}
"""What an admin can do about Slack's codes."""

# With which a webhook answers 400 although the message isn't what is wrong.
_SETTINGS = frozenset({*_HINTS, "action_prohibited", "no_active_hooks", "no_team", "team_disabled", "user_not_found"})

_NO_THREAD = frozenset({"cannot_reply_to_message", "invalid_thread_ts", "message_not_found", "thread_not_found"})

Post = Callable[[Mapping[str, Any]], str]
"""Sends a message and tells by what name Slack knows it. Raises _Failed, Refused, Unavailable."""


class _Failed(Exception):
    """The API refuses a message; the text is Slack's code for the reason."""


def open_slack(
    sink: SlackSink,
    settings: SinkSettings,
    *,
    base_url: str = API,
    timeouts: Timeouts | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Sink:
    """Raises BadSink. ``clock`` gives monotonic seconds."""
    if (sink.url_from is None) == (sink.token_from is None):
        raise BadSink("either urlFrom (an incoming webhook) or tokenFrom (a bot's token) is needed")
    if sink.url_from is not None:
        return _webhook(settings.secret(sink.url_from).strip(), settings, timeouts)
    assert sink.token_from is not None
    token = settings.secret(sink.token_from).strip()
    if not _TOKEN.fullmatch(token):
        raise BadSink("tokenFrom isn't a token of Slack: a bot's begins with xoxb-")
    if not sink.channel:
        raise BadSink("tokenFrom needs a channel, best by its ID")
    client = Client(f"{base_url.rstrip('/')}/chat.postMessage", settings, timeouts=timeouts)
    post = _bot(client, token)
    return Sink(send=_in_threads(post, sink.channel.strip(), Threads(clock)), close=client.close)


class _Hook(Client):
    """Keeps what was answered: Slack says there why it doesn't take a message."""

    answered = b""

    def _body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        self.answered = super()._body(response)
        return self.answered


def _webhook(address: str, settings: SinkSettings, timeouts: Timeouts | None) -> Sink:
    if not settings.trusted and not address.lower().startswith("https://"):
        raise BadSink("the webhook's address must begin with https://")
    client = _Hook(address, settings, timeouts=timeouts)

    def send(alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            client.answered = b""
            try:
                client.request("POST", orjson.dumps(message(alert)), _JSON)
            except (Refused, Unavailable) as error:
                raise _explained(error, client.answered) from None

    return Sink(send=send, close=client.close)


def _explained(error: Refused | Unavailable, answered: bytes) -> Refused | Unavailable:
    """The failure with Slack's reason, which may tell more than the status does."""
    code = answered.decode("utf-8", "replace").strip()
    if not _CODE.fullmatch(code):
        return error
    if code in _MESSAGES or (isinstance(error, Refused) and code not in _SETTINGS):
        return Refused(_said(code))
    return Unavailable(_said(code), error.retry_after if isinstance(error, Unavailable) else None)


def _said(code: str) -> str:
    hint = _HINTS.get(code)
    return f"Slack answers {code}: {hint}" if hint else f"Slack answers {code}"


def _in_threads(post: Post, channel: str, threads: Threads) -> Callable[[Sequence[Alert]], None]:
    def deliver(alert: Alert) -> None:
        incident = incident_of(alert)
        content = {"channel": channel, "parse": "none", **message(alert)}
        thread = threads.of(incident)
        if thread is not None:
            try:
                post({**content, "thread_ts": thread})
            except _Failed as failed:
                if str(failed) not in _NO_THREAD:
                    raise
                threads.forget(incident)  # somebody has removed its first message: another one begins
            else:
                threads.note(incident, thread)
                return
        threads.note(incident, post(content))

    def send(alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            try:
                deliver(alert)
            except _Failed as failed:
                code = str(failed)
                raise (Refused if code in _MESSAGES else Unavailable)(_said(code)) from None

    return send


def _bot(client: Client, token: str) -> Post:
    """Posts by the API's method chat.postMessage (https://docs.slack.dev/reference/methods/chat.postMessage)."""

    def post(content: Mapping[str, Any]) -> str:
        response = client.request("POST", orjson.dumps(content), _JSON, {"Authorization": f"Bearer {token}"})
        try:
            answer = orjson.loads(response.body)
        except orjson.JSONDecodeError:
            raise Unavailable(_STRANGE) from None
        if not isinstance(answer, dict):
            raise Unavailable(_STRANGE)
        if answer.get("ok") is True:
            timestamp = answer.get("ts")
            return timestamp if isinstance(timestamp, str) else ""
        code = answer.get("error")
        if isinstance(code, str) and _CODE.fullmatch(code):
            raise _Failed(code)
        raise Unavailable(_STRANGE)

    return post
