"""A second thread exchanges what a call is about before the call returns."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from evasion_support.watched import Watched

_TIMES = 50


@pytest.mark.technique("a second thread puts another file behind the descriptor that is returned")
def test_another_file_behind_the_descriptor(watched: Watched, program: Callable[..., str]) -> None:
    if not watched.kinds:
        pytest.skip("this kernel's hooks can't be used: the file is looked up when the call returns")
    (link := watched.folder / "link").symlink_to(watched.folder / "secret")
    alerts = watched.during(lambda: program("exchange_open", link, _TIMES))
    assert [alert["rule"] for alert in alerts] == ["open"] * _TIMES


@pytest.mark.technique("a second thread puts another file behind the socket while it connects")
def test_another_socket_behind_the_descriptor(watched: Watched, program: Callable[..., str]) -> None:
    if not watched.kinds:
        pytest.skip("this kernel's hooks can't be used: the socket is looked up when the call returns")
    alerts = watched.during(lambda: program("exchange_socket", watched.port))
    assert [alert["rule"] for alert in alerts].count("connect") == 3, "the two that fill the queue, and the one"


@pytest.mark.technique("a second thread changes the name that a rename is passed")
def test_a_name_that_is_changed_meanwhile(watched: Watched, program: Callable[..., str]) -> None:
    if not watched.kinds:
        pytest.skip("this kernel's hooks can't be used: the name is read when the call returns")
    told: list[str] = []
    alerts = watched.during(lambda: told.append(program("flip_name", watched.folder / "flipped", _TIMES)))
    assert len(alerts) >= int(told[0])
