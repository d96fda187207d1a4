"""A mail server that asks at the login for what isn't SMTP."""

from __future__ import annotations

import socket
import threading
from email.headerregistry import Address

import pytest

from tiercel_agent.sinks.mail.message import Envelope, alert_mail
from tiercel_agent.sinks.mail.server import MailServer
from tiercel_agent.sinks.model import Unavailable
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority

ALERT = Alert(1, "Read", Priority.WARNING, "syscall", "node-1", "read", (), {})


def test_what_is_asked_for_can_not_be_read() -> None:
    """The mail waits: any other error would lose it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as lines:
                for answer in (b"220 x", b"250-x\r\n250 AUTH CRAM-MD5", b"334 !!not\x1b[31m", b"221 x"):
                    connection.sendall(answer + b"\r\n")
                    lines.readline()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        server = MailServer(
            host="127.0.0.1",
            port=listening.getsockname()[1],
            own_name="node-1",
            context=None,
            name="127.0.0.1",
            implicit=False,
            username="ann",
            password="hunter2",
            timeout=30,
        )
        ann = Address("", "ann", "example.org")
        with pytest.raises(Unavailable) as raised:
            server.deliver(alert_mail(ALERT, Envelope(ann, (ann,), "node-1")), "ann@example.org", ["ann@example.org"])
        thread.join(30)
    assert str(raised.value) == "what the mail server asks for at the login isn't SMTP"
