"""Processes that execute several programs one after the other, and what is known of each."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

import pytest

from tiercel_agent.events.processes import ProcessTable
from tiercel_agent.lookups.lookups import Lookups
from tiercel_engine.uncertain import UNKNOWN, Beginning

LINK = """
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int n, char **words) {
    int number = atoi(words[1]);
    char next[4096], text[16];
    open("/etc/hostname", O_RDONLY);
    if (number < 6) {
        snprintf(next, sizeof next, "%s/image%d", words[2], number + 1);
        snprintf(text, sizeof text, "%d", number + 1);
        execl(next, next, text, words[2], (char *)0);
    }
    write(1, "x", 1);
    while (read(0, text, 1) == 1)
        open("/etc/hostname", O_RDONLY);
}
"""


@pytest.fixture
def images(compiled, tmp_path):
    """Seven programs, each of which opens /etc/hostname and executes the next. The last opens it for each byte that it
    reads."""
    program = Path(compiled(LINK)).read_bytes()
    for number in range(7):
        image = tmp_path / f"image{number}"
        image.write_bytes(program)
        image.chmod(0o755)
    return [str(tmp_path / f"image{number}") for number in range(7)]


class Opens:
    """The events of a process that open /etc/hostname, in the order of their times. Called for each event that comes;
    true when so many have come."""

    def __init__(self, pid: int, count: int) -> None:
        self.pid, self.count = pid, count
        self.events = []

    def __call__(self, event):
        if (event["proc.pid"], event["evt.type"], event["fd.name"]) == (self.pid, "openat", "/etc/hostname"):
            self.events.append(event)
            self.events.sort(key=lambda event: event.time)
        return len(self.events) == self.count


def test_six_execs_that_are_read_late(detector, collect, drain, images):
    """By the time that the first event is read, the process executes the last program, as /proc shows."""
    drain(detector)
    folder = str(Path(images[0]).parent)
    with subprocess.Popen([images[0], "0", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.read(1) == b"x"
        assert os.readlink(f"/proc/{process.pid}/exe") == images[-1]
        opens = Opens(process.pid, 7)
        collect(detector, opens)
        process.stdin.close()
    events = opens.events
    assert [event["proc.exepath"] for event in events] == images
    assert [event["proc.name"] for event in events] == [Path(image).name for image in images]
    assert [event["proc.args"] for event in events] == [f"{number} {folder}" for number in range(7)]


def test_a_program_that_is_not_known_is_unknown_until_the_kernel_has_told_it(detector, collect, drain, images):
    """As after a loss: nothing is known of the process but what its records say."""
    drain(detector)
    context = detector._context
    lookups = Lookups([])
    with subprocess.Popen([images[6], "6", "x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.read(1) == b"x"
        collect(detector, Opens(process.pid, 1))
        kept = context.processes
        context.processes = ProcessTable(lookups.ask, detector._request_image)
        try:
            opened = []
            for _ in range(2):
                process.stdin.write(b"x")
                process.stdin.flush()
                collect(detector, opens := Opens(process.pid, 1))
                opened += opens.events
            unknown, told = opened
            assert [unknown[f"proc.{key}"] for key in ("exe", "exepath", "args", "cmdline")] == [UNKNOWN] * 4
            assert (unknown["proc.cmdnargs"], unknown["proc.name"]) == (None, "image6")
            assert unknown["tiercel.uncertain"].startswith("program")
            assert (told["proc.exepath"], told["proc.args"]) == (images[6], "6 x")
        finally:
            context.processes = kept
            lookups.close()
        process.stdin.close()


def test_a_long_command_line(run, spawned):
    """The true length and count come from the kernel; of the text, the beginning."""
    words = ["first", "x" * 50_000, "", "y" * 49_998]
    event = run(lambda: spawned(["/bin/true", *words], {"LONG": "z" * 10_000, "LAST": "1"})).one("execve")
    assert (event["proc.cmdnargs"], event["proc.cmdlenargs"]) == (4, 100_003)
    for field, beginning in (
        ("proc.args", "first xxx"),
        ("proc.cmdline", "true first xxx"),
        ("evt.arg.args", "first x"),
    ):
        assert isinstance(event[field], Beginning)
        assert event[field].startswith(beginning)
        assert len(event[field]) > 4000
    assert (type(event["proc.args[0]"]), event["proc.args[0]"]) == (str, "first")
    assert isinstance(event["proc.args[1]"], Beginning)
    assert (event["proc.args[3]"], event["proc.args[4]"]) == (UNKNOWN, None)
    assert isinstance(event["proc.env[LONG]"], Beginning)
    assert event["proc.env[LAST]"] is UNKNOWN
    assert event["tiercel.uncertain"].startswith("arguments, environment")


def test_a_child_of_a_process_whose_command_line_is_known_in_part(run, spawned):
    done = run(lambda: spawned(["/bin/sh", "-c", "/bin/true; exit", "x" * 50_000], {}))
    child = done.one("execve", {"proc.name": "true"})
    assert child["tiercel.uncertain"] == "ancestors"


@pytest.mark.parametrize("count", [3, 32, 33, 200])
def test_the_arguments_of_a_failed_exec(run, call, count):
    words = (ctypes.c_char_p * (count + 1))(*([b"word"] * count), None)
    event = run(lambda: call("execve", "/nonexistent/program", words, None)).one("execve")
    assert isinstance(event["evt.arg.args"], Beginning) == (count > 32)
    assert event["evt.arg.args"].rstrip() == " ".join(["word"] * (min(count, 32) - 1))
