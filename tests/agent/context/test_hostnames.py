"""Addresses of the host names that rules mention."""

from __future__ import annotations

import threading

from tiercel_agent.context.hostnames import MAX_ADDRESSES_OF_A_NAME, MAX_NAMES, HostNames, canonical, resolve


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Directory(dict[str, list[str]]):
    """A resolver whose answers a test sets, and which notes each request."""

    def __init__(self, answers: dict[str, list[str]]) -> None:
        super().__init__(answers)
        self.asked: list[str] = []

    def __call__(self, name: str) -> list[str]:
        self.asked.append(name)
        return self.get(name, [])


def watching(directory: Directory, clock: Clock) -> HostNames:
    """Host names that are resolved only when the test says so."""
    names = HostNames(resolver=directory, clock=clock, lifetime=100, interval=1e6)
    names._watched = tuple(sorted(directory))
    names.refresh()
    return names


def test_an_address_bears_every_name_that_leads_to_it() -> None:
    names = watching(Directory({"a.example": ["192.0.2.1", "2001:db8::1"], "b.example": ["192.0.2.1"]}), Clock())
    assert names.names_of("192.0.2.1") == ["a.example", "b.example"]
    assert names.names_of("2001:db8:0:0::1") == ["a.example"]
    assert names.names_of("::ffff:192.0.2.1") == ["a.example", "b.example"]
    assert names.names_of("192.0.2.2") == []
    assert names.names_of("no address") == []


def test_an_address_is_kept_while_the_resolver_fails_and_goes_in_the_end() -> None:
    directory, clock = Directory({"a.example": ["192.0.2.1"]}), Clock()
    names = watching(directory, clock)
    directory["a.example"] = []
    clock.now = 99
    names.refresh()
    assert names.names_of("192.0.2.1") == ["a.example"]
    clock.now = 100
    names.refresh()
    assert names.names_of("192.0.2.1") == []


def test_addresses_that_change_in_turn_are_all_known() -> None:
    directory, clock = Directory({"a.example": ["192.0.2.1"]}), Clock()
    names = watching(directory, clock)
    directory["a.example"] = ["192.0.2.2"]
    clock.now = 10
    names.refresh()
    assert names.names_of("192.0.2.1") == names.names_of("192.0.2.2") == ["a.example"]


def test_a_name_with_too_many_addresses_is_bounded() -> None:
    many = [f"10.0.{number // 256}.{number % 256}" for number in range(MAX_ADDRESSES_OF_A_NAME + 50)]
    names = watching(Directory({"a.example": many}), Clock())
    assert sum(bool(names.names_of(address)) for address in many) == MAX_ADDRESSES_OF_A_NAME


def test_what_a_resolver_answers_may_be_no_address() -> None:
    names = watching(Directory({"a.example": ["garbage", "192.0.2.1", ""]}), Clock())
    assert names.names_of("192.0.2.1") == ["a.example"]


def test_names_are_resolved_in_the_background_and_nobody_waits() -> None:
    asked, release = threading.Event(), threading.Event()

    def slow(name: str) -> list[str]:
        asked.set()
        release.wait()
        return ["192.0.2.1"]

    names = HostNames(resolver=slow, interval=1e6)
    names.watch(["a.example"])
    asked.wait()
    assert names.names_of("192.0.2.1") == []
    release.set()
    names.close()
    names._thread.join(600)
    assert names.names_of("192.0.2.1") == ["a.example"]


def test_new_rules_bring_new_names_and_drop_old_ones() -> None:
    resolved = threading.Semaphore(0)
    answers = {"a.example": ["192.0.2.1"], "b.example": ["192.0.2.2"]}

    class Observed(HostNames):
        def refresh(self) -> None:
            super().refresh()
            resolved.release()

    names = Observed(resolver=lambda name: answers[name], interval=1e6)
    names.watch(["a.example"])
    resolved.acquire()
    assert names.names_of("192.0.2.1") == ["a.example"]
    names.watch(["b.example"])
    resolved.acquire()
    assert names.names_of("192.0.2.1") == []
    assert names.names_of("192.0.2.2") == ["b.example"]
    names.close()


def test_the_number_of_names_is_bounded() -> None:
    names = HostNames(resolver=lambda _: [], interval=1e6)
    names.watch([f"h{number}.example" for number in range(MAX_NAMES + 5)])
    assert len(names._watched) == MAX_NAMES
    names.close()


def test_no_names_need_no_thread() -> None:
    names = HostNames()
    names.watch([])
    assert not names._started


def test_one_spelling_for_an_address() -> None:
    assert canonical("fe80::1%eth0") == "fe80::1"
    assert canonical("::FFFF:1.2.3.4") == "1.2.3.4"
    assert canonical("1.2.3") is None


def test_the_systems_resolver() -> None:
    assert "127.0.0.1" in resolve("127.0.0.1")
    assert resolve("a" * 300) == []
    assert resolve("\udcff") == []
