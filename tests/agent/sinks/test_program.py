"""Alerts to real programs: what they read arrives once and in order, whatever they do, and none is left behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from agent_support.waiting import eventually

from tiercel_agent.sinks.local import program as program_module
from tiercel_agent.sinks.local.program import PATIENCE, open_program, wait_until_read
from tiercel_agent.sinks.model import BadSink, Sink, Unavailable
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.destinations import ProgramSink


def alert(output: str) -> Alert:
    return Alert(1_700_000_000_000_000_001, "A rule", Priority.WARNING, "syscall", "node", output, (), {})


def line(alert: Alert) -> bytes:
    return alert.output.encode("utf-8", "surrogateescape")


def send(sink: Sink, output: str) -> None:
    sink.send([alert(output)])


def offer(sink: Sink, output: str) -> list[str]:
    """Until it is taken; the reasons why it wasn't at first."""
    reasons: list[str] = []
    while len(reasons) < 20:
        try:
            send(sink, output)
        except Unavailable as error:
            reasons.append(str(error))
        else:
            return reasons
    pytest.fail(f"never taken: {reasons}")


Shell = Callable[..., Sink]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Opens a script as a sink; ``$0`` is a file for what it has to say."""
    sinks: list[Sink] = []

    def make(script: str, patience: float = PATIENCE) -> Sink:
        sinks.append(open_program(ProgramSink(("/bin/sh", "-c", script, str(tmp_path / "said"))), line, patience))
        return sinks[-1]

    before = zombies()
    yield make
    for sink in sinks:
        sink.close()
    assert running(str(tmp_path)) == []
    assert zombies() <= before


def running(word: str) -> list[Path]:
    """Processes with the word in their command lines."""
    return [path for path in Path("/proc").glob("[0-9]*/cmdline") if word in _text(path)]


def zombies() -> set[str]:
    """This process's."""
    states = (_text(path).rpartition(")") for path in Path("/proc").glob("[0-9]*/stat"))
    return {head for head, _, rest in states if rest.split()[:2] == ["Z", str(os.getpid())]}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def said(tmp_path: Path) -> list[str]:
    return (tmp_path / "said").read_text().splitlines()


def test_a_program_gets_a_line_an_alert_and_the_end_of_its_input_at_the_end(tmp_path: Path, shell: Shell):
    sink = shell("cat > $0; echo end >> $0")
    for number in range(50):
        send(sink, f"alert {number}")
    sink.close()
    assert said(tmp_path) == [*(f"alert {number}" for number in range(50)), "end"]


def test_an_alert_is_one_line_whatever_is_in_it(tmp_path: Path, shell: Shell):
    sink = shell("cat > $0")
    send(sink, "a\nforged\r\x1b[2J\udcff\0")
    sink.close()
    assert said(tmp_path) == ["a\\nforged\\r\\x1b[2J\ufffd\\x00"]


def test_one_process_gets_all(tmp_path: Path, shell: Shell):
    sink = shell("echo started >> $0; cat >> $0")
    send(sink, "one")
    sink.tick()
    send(sink, "two")
    sink.close()
    assert said(tmp_path) == ["started", "one", "two"]


def test_the_arguments_are_its_own_and_no_shell_reads_them(tmp_path: Path):
    said = tmp_path / "said"
    sink = open_program(ProgramSink(("/usr/bin/tee", str(said), str(tmp_path / "$(touch x); *"))), line)
    send(sink, "one")
    sink.close()
    assert said.read_text() == (tmp_path / "$(touch x); *").read_text() == "one\n"


def test_a_program_that_ends_at_once_is_told_with_its_status_and_started_again(tmp_path: Path, shell: Shell):
    sink = shell("echo started >> $0; exit 3")
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"^the program ended with status 3$"):
            send(sink, "one")
    assert said(tmp_path) == ["started", "started"]


def test_a_program_that_is_killed_is_told_with_the_signal(shell: Shell):
    sink = shell("kill -9 $$")
    with pytest.raises(Unavailable, match=r"^the program was ended by signal 9$"):
        send(sink, "one")


def test_a_program_that_ends_now_and_then_loses_and_repeats_nothing(tmp_path: Path, shell: Shell):
    # The shell reads byte by byte: no more than its lines.
    sink = shell('for _ in 1 2 3; do read -r line; echo "$line" >> $0; done; exit 5')
    reasons = [reason for number in range(10) for reason in offer(sink, f"alert {number}")]
    sink.close()
    assert said(tmp_path)[:10] == [f"alert {number}" for number in range(10)]
    assert reasons == ["the program ended with status 5"] * 3


@pytest.mark.parametrize("read", [True, False])
def test_what_was_read_before_the_reader_went_counts(read: bool):
    reading, writing = os.pipe()
    os.write(writing, b"one\n")
    if read:
        assert os.read(reading, 100) == b"one\n"
    os.close(reading)
    with nullcontext() if read else pytest.raises(BrokenPipeError):
        wait_until_read(writing, PATIENCE)
    os.close(writing)


def test_an_end_between_two_alerts_leaves_no_zombie_and_is_told_with_the_next(tmp_path: Path, shell: Shell):
    sink = shell("echo $$ > $0; read -r line; exit 4")
    send(sink, "one")
    process = int(said(tmp_path)[0])
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    assert sink.tick() is None
    assert not Path(f"/proc/{process}").exists()
    assert offer(sink, "two") == ["the program ended with status 4"]


def test_a_slow_reader_gets_long_lines_whole_and_in_order(tmp_path: Path, shell: Shell):
    sink = shell("dd bs=1000 of=$0 status=none")
    lines = [letter * 20_000 for letter in "abcde"]
    for text in lines:
        send(sink, text)
    sink.close()
    assert said(tmp_path) == lines


def test_a_program_that_never_reads_is_killed_with_what_it_has_started(tmp_path: Path, shell: Shell):
    marker = "1000.0" + str(os.getpid())
    sink = shell(f"sleep {marker} & sleep {marker}", patience=0.3)
    with pytest.raises(Unavailable, match=r"^the program read nothing for 0.3 seconds and was killed$"):
        send(sink, "one")
    eventually(lambda: not running(marker))


def test_after_a_half_read_line_a_new_process_gets_the_whole(tmp_path: Path, shell: Shell):
    sink = shell("if test -e $0; then cat >> $0; else head -c 5000 > $0; exec sleep 1000; fi", patience=0.3)
    text = "x" * 20_000
    assert set(offer(sink, text)) == {"the program read nothing for 0.3 seconds and was killed"}
    sink.close()
    halves, _, rest = (tmp_path / "said").read_text().partition("\n")
    assert halves.endswith(text)
    assert (len(halves) <= len(text) + 5000, rest) == (True, "")


def test_a_program_that_closes_its_input_is_ended(shell: Shell, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(program_module, "_END_BY_ITSELF", 0.05)
    sink = shell("exec <&-; exec sleep 1000")
    with pytest.raises(Unavailable, match=r"^the program closed its standard input$"):
        send(sink, "one")


def test_a_program_that_wants_to_stay_at_the_end_is_killed(shell: Shell, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(program_module, "_END_BY_ITSELF", 0.05)
    monkeypatch.setattr(program_module, "_END_WHEN_ASKED", 0.05)
    sink = shell("trap '' TERM; cat > $0; while :; do sleep 1000; done")
    send(sink, "one")
    sink.close()  # the fixture finds what is left


def test_the_agents_secrets_and_its_terminal_are_none_of_the_programs(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("API_TOKEN", "hunter2")
    monkeypatch.setenv("TZ", "UTC")
    sink = shell("env > $0; cut -d' ' -f6 /proc/self/stat >> $0; cat > /dev/null")
    send(sink, "one")
    sink.close()
    assert "TZ=UTC" in said(tmp_path)
    assert not any("hunter2" in text for text in said(tmp_path))
    assert int(said(tmp_path)[-1]) != os.getsid(0)


def test_a_missing_program_is_told_and_started_once_it_is_there(tmp_path: Path):
    program = tmp_path / "mine"
    sink = open_program(ProgramSink((str(program), str(tmp_path / "said"))), line)
    with pytest.raises(Unavailable, match=r"^the program can't be started: No such file or directory$"):
        send(sink, "one")
    program.write_text('#!/bin/sh\ncat > "$1"\n')
    program.chmod(0o755)
    send(sink, "one")
    sink.close()
    assert said(tmp_path) == ["one"]


@pytest.mark.parametrize("command", [(), ("",), ("cat",), ("./cat",), ("/bin/cat", "a\0b")])
def test_what_is_no_command_is_refused(command: tuple[str, ...]):
    with pytest.raises(BadSink, match=r"absolute path|NUL"):
        open_program(ProgramSink(command), line)
