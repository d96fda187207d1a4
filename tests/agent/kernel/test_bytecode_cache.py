"""Compiled programs on the disk: found again, and never taken from where others could have put something else."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tiercel_agent.kernel.bytecode import cache as cache_module
from tiercel_agent.kernel.bytecode import provider
from tiercel_agent.kernel.bytecode.cache import BytecodeCache, key_of
from tiercel_agent.kernel.bytecode.compiler import Bytecode, MapSpec
from tiercel_agent.kernel.bytecode.provider import BytecodeProvider, ProgramSettings, usual_programs

PROGRAMS = Bytecode({"on_return": b"\x95" + bytes(7)}, {"plans": MapSpec(3, 2, 4, 40, 544, 0)})
KEY = "0" * 64


class Lines(logging.Handler):
    """The lines of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def said() -> Iterator[list[str]]:
    handler, logger = Lines(), logging.getLogger(cache_module.__name__)
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> BytecodeCache:
    """With something in it."""
    made = BytecodeCache(tmp_path / "state/programs")
    made.keep(KEY, PROGRAMS)
    assert not said
    return made


def file_of(cache: BytecodeCache) -> Path:
    return cache.folder / f"{KEY}.programs"


def test_what_was_kept_is_found_by_its_key_alone(cache, said):
    assert cache.find(KEY) == PROGRAMS
    assert cache.find("1" * 64) is None
    assert not said, "that nothing is there is no trouble"


def test_nobody_else_may_even_look(cache):
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert file_of(cache).stat().st_mode & 0o777 == 0o600


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def changed(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content.replace(b"lQAAAA", b"lQAAAQ"))
    assert file.read_bytes() != content


def of_another_key(file: Path) -> None:
    other = BytecodeCache(file.parent)
    other.keep("2" * 64, PROGRAMS)
    (file.parent / f"{'2' * 64}.programs").rename(file)


def writable(file: Path) -> None:
    file.chmod(0o666)


def of_another_user(file: Path) -> None:
    os.chown(file, 65534, 65534)


def a_link(file: Path) -> None:
    file.rename(file.parent / "elsewhere")
    file.symlink_to("elsewhere")


def a_second_name(file: Path) -> None:
    os.link(file, file.parent.parent / "other")


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (cut, "the file is cut short or was changed"),
        (emptied, "the file is cut short or was changed"),
        (changed, "the file is cut short or was changed"),
        (of_another_key, "the file was made for another kernel or other rules"),
        (writable, f"others may have written {KEY}.programs"),
        (of_another_user, f"others may have written {KEY}.programs"),
        (a_link, f"{KEY}.programs is a link"),
        (a_second_name, f"{KEY}.programs is no file of its own"),
        (a_pipe, f"{KEY}.programs is no file of its own"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_passed_over_and_written_anew(
    cache, said, spoil: Callable[[Path], None], reason: str
):
    if spoil is of_another_user and os.geteuid() != 0:
        pytest.skip("files can't be given away")
    spoil(file_of(cache))
    assert cache.find(KEY) is None
    assert said == [f"compiled programs in {cache.folder} are passed over, and compiled anew: {reason}"]
    cache.keep(KEY, PROGRAMS)
    assert cache.find(KEY) == PROGRAMS
    assert len(said) == 1


def open_to_all(folder: Path) -> None:
    folder.chmod(0o777)


def open_above(folder: Path) -> None:
    folder.parent.chmod(0o777)


def linked(folder: Path) -> None:
    folder.rename(folder.parent / "elsewhere")
    folder.symlink_to("elsewhere")


def linked_above(folder: Path) -> None:
    folder.parent.rename(folder.parent.parent / "elsewhere")
    folder.parent.symlink_to("elsewhere")


def given_away(folder: Path) -> None:
    os.chown(folder, 65534, 65534)


@pytest.mark.parametrize("spoil", [open_to_all, open_above, linked, linked_above, given_away])
def test_a_folder_that_others_can_write_into_is_not_used(cache, said, spoil: Callable[[Path], None]):
    if spoil is given_away and os.geteuid() != 0:
        pytest.skip("folders can't be given away")
    spoil(cache.folder)
    before = sorted(os.listdir(cache.folder))
    assert cache.find(KEY) is None
    cache.keep("3" * 64, PROGRAMS)
    found, kept = said
    assert found.startswith(f"compiled programs in {cache.folder} are passed over, and compiled anew: ")
    assert kept.startswith(f"compiled programs are not kept in {cache.folder}: ")
    assert sorted(os.listdir(cache.folder)) == before, "nothing is written there either"


def test_the_folders_above_may_be_reached_by_a_link(tmp_path: Path, said):
    (tmp_path / "disk").mkdir()
    (tmp_path / "lib").symlink_to("disk")
    cache = BytecodeCache(tmp_path / "lib/tiercel/programs")
    cache.keep(KEY, PROGRAMS)
    assert cache.find(KEY) == PROGRAMS
    assert not said


def test_another_version_of_the_compiler_compiles_anew_and_none_takes_what_is_there(cache, said, monkeypatch):
    monkeypatch.setattr(cache_module, "_compiler", lambda: None)
    assert cache.find(KEY) == PROGRAMS
    monkeypatch.setattr(cache_module, "_compiler", lambda: "9.9")
    assert cache.find(KEY) is None
    assert said[0].endswith("they were made by another version of the compiler than 9.9")


def test_the_oldest_are_removed(cache, monkeypatch):
    monkeypatch.setattr(cache_module, "MOST", 3)
    (cache.folder / "something-else").write_text("not ours")
    (cache.folder / ".new-1").write_text("given up long ago")
    os.utime(cache.folder / ".new-1", (0, 0))
    keys = [str(number) * 64 for number in range(1, 5)]
    for age, key in enumerate([KEY, *keys[:3]]):
        cache.keep(key, PROGRAMS)
        os.utime(cache.folder / f"{key}.programs", (age, age))
    assert cache.find(keys[0]) == PROGRAMS, "now it is the latest"
    cache.keep(keys[3], PROGRAMS)
    assert sorted(os.listdir(cache.folder)) == sorted(
        [*(f"{key}.programs" for key in (keys[0], keys[2], keys[3])), "something-else"]
    )


def test_bytes_are_bounded_too(cache, monkeypatch):
    monkeypatch.setattr(cache_module, "MOST_BYTES", file_of(cache).stat().st_size * 3 // 2)
    os.utime(file_of(cache), (0, 0))
    cache.keep("4" * 64, PROGRAMS)
    assert os.listdir(cache.folder) == [f"{'4' * 64}.programs"]


def test_a_full_disk_only_means_that_nothing_is_kept(cache, said, monkeypatch):
    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    cache.keep("5" * 64, PROGRAMS)
    assert len(said) == 1
    assert said[0].startswith(
        f"compiled programs can't be kept in {cache.folder}: No space left on device (OSError at "
    )
    assert os.listdir(cache.folder) == [file_of(cache).name], "no half of it is left"


def test_a_key_is_of_everything_that_bytecode_depends_on(monkeypatch):
    keys = [key_of({"TASK_PID": 1}), key_of({"TASK_PID": 2}), key_of({"TASK_PID": 1, "WANT_ENV": 1})]
    with monkeypatch.context() as patch:
        patch.setattr("platform.release", lambda: "5.10.0")
        keys.append(key_of({"TASK_PID": 1}))
    with monkeypatch.context() as patch:
        patch.setattr("platform.version", lambda: "#2 built by hand")
        keys.append(key_of({"TASK_PID": 1}))
    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "program_text", lambda: "int on_return;")
        keys.append(key_of({"TASK_PID": 1}))
    assert len(set(keys)) == len(keys)
    assert key_of({"A": 1, "B": 2}) == key_of({"B": 2, "A": 1}), "in whatever order macros come"


@pytest.fixture
def compiles(monkeypatch) -> list[dict[str, int]]:
    """What was compiled, which takes no time here."""
    asked: list[dict[str, int]] = []

    def compile_programs(macros, limit, **_options) -> Bytecode:
        asked.append(dict(macros))
        return PROGRAMS

    monkeypatch.setattr(provider, "compile_programs", compile_programs)
    return asked


def test_each_kind_of_programs_is_compiled_once_for_all_restarts(tmp_path: Path, compiles, said):
    settings = ProgramSettings(tmp_path / "state/programs")
    for _ in range(2):
        source = BytecodeProvider(settings)
        for macros in ({"A": 1}, {"A": 2}, {"A": 1}):
            assert source.get(macros) == PROGRAMS
    assert compiles == [{"A": 1}, {"A": 2}]
    assert not said


def test_where_nothing_can_be_kept_that_is_said_once_and_all_else_goes_on(tmp_path: Path, compiles, said):
    (tmp_path / "state").write_text("no folder")
    source = BytecodeProvider(ProgramSettings(tmp_path / "state/programs"))
    for number in range(3):
        assert source.get({"A": number}) == PROGRAMS
    assert len(compiles) == 3
    assert sorted(said) == sorted(set(said))


def test_programs_are_kept_in_the_unit_s_state_folder_or_root_s_own(monkeypatch):
    assert usual_programs({"STATE_DIRECTORY": "/var/lib/x:/var/lib/y"}).folder == Path("/var/lib/x/programs")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert usual_programs({}).folder == Path("/var/lib/tiercel/programs")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert usual_programs({}).folder is None
