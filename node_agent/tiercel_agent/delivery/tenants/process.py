"""The process of tenants' sinks: a thread for each of them takes alerts, sends them, and says what became of them.

It keeps nothing: what isn't delivered when it ends is still with the agent. It ends when the agent has closed its end
of the socket.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence

from tiercel_agent.delivery.tenants.messages import (
    LONGEST_REQUEST,
    Answer,
    Done,
    Failed,
    Failing,
    Opened,
    answer_message,
    read_alerts,
    read_opening,
    read_policy,
    receive,
    send,
)
from tiercel_agent.delivery.worker import reason
from tiercel_agent.powers.giving_up import Limits, give_up, keep_time
from tiercel_agent.powers.own_files import own_files
from tiercel_agent.sinks.factory import open_sink
from tiercel_agent.sinks.model import BadSink, Refused, Sink, Unavailable
from tiercel_agent.sinks.network.confinement import confine
from tiercel_agent.sinks.network.egress_policy import EgressPolicy
from tiercel_engine.located import located


class _Policy:
    """The egress policy as the agent has said it last. Before that nothing is allowed but public addresses."""

    def __init__(self) -> None:
        self.now = EgressPolicy()


def serve(control: socket.socket, limits: Limits) -> None:
    """Serves what comes on ``control``, until that ends: a policy, or the socket of a sink."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the agent decides when it ends: last alerts are still delivered
    policy = _Policy()
    give_up(own_files(), limits)
    confine(lambda: policy.now)
    keep_time(limits)
    send(control, answer_message(Done()))
    with contextlib.suppress(OSError, EOFError):
        while True:
            kind, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not kind:
                break
            if descriptors:
                connection = socket.socket(fileno=descriptors[0])
                threading.Thread(target=_serve_sink, args=(connection,), daemon=True).start()
            else:
                policy.now = read_policy(receive(control, LONGEST_REQUEST))
            send(control, answer_message(Done()))
    os._exit(0)


def _serve_sink(connection: socket.socket) -> None:
    """Opens one sink, and delivers what comes for it until its connection ends."""
    sink: Sink | None = None
    with connection, contextlib.suppress(OSError, EOFError):
        while True:
            parts = receive(connection, LONGEST_REQUEST)
            if sink is None:
                sink, answer = _opened(parts)
            else:
                answer = _delivered(sink, parts)
            send(connection, answer_message(answer))
    if sink is not None:
        with contextlib.suppress(Exception):  # it is done with
            sink.close()


def _opened(parts: Sequence[bytes]) -> tuple[Sink | None, Answer]:
    try:
        opening = read_opening(parts)
        sink = open_sink(opening.settings, opening.place, opening.longest)
    except BadSink as error:
        return None, Failed(Failing.BAD, str(error))
    except OSError as error:
        return None, Failed(Failing.UNAVAILABLE, reason(error))
    except BaseException as error:  # a library that nobody foresaw: the other sinks go on
        return None, Failed(Failing.UNAVAILABLE, f"it can't be opened: {located(error)}")
    return sink, Opened(sink.batch, sink.wait)


def _delivered(sink: Sink, parts: Sequence[bytes]) -> Answer:
    try:
        sink.send(read_alerts(parts))
    except Refused as error:
        return Failed(Failing.REFUSED, str(error))
    except Unavailable as error:
        return Failed(Failing.UNAVAILABLE, str(error), error.retry_after)
    except OSError as error:
        return Failed(Failing.UNAVAILABLE, reason(error))
    except MemoryError:  # nothing that the alerts could be blamed for
        return Failed(Failing.UNAVAILABLE, "there is too little memory")
    except BaseException as error:  # an alert that trips the sink must not end it, nor be offered for ever
        return Failed(Failing.REFUSED, f"it can't take what it was given: {located(error)}")
    return Done()


def main() -> None:
    descriptor, *numbers = map(int, sys.argv[1:])
    serve(socket.socket(fileno=descriptor), Limits(*numbers))


if __name__ == "__main__":
    main()
