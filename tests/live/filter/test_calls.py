"""The kernel's filter never drops what a rule matches: other calls, other rules, and everything at once.

Every test first lets the filter learn that something is harmless, until it drops it, and then changes one thing that
makes it an alert.
"""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress

import pytest
from live_support.filter_rules import (
    AT_FDCWD,
    MODES,
    RULES,
    all_rules,
    in_child,
    open_at,
    rename_process,
    repeat,
    rules_of,
)


def other_flags(file):
    open_at(file, os.O_WRONLY)
    return "written"


def other_creation(file):
    open_at(file, os.O_RDONLY | os.O_CREAT)
    return "created"


def gone(file):
    file.unlink()
    open_at(file)
    return "missing"


def a_directory(file):
    file.unlink()
    file.mkdir()
    open_at(file)
    return "a directory"


def a_pipe(file):
    file.unlink()
    os.mkfifo(file)
    open_at(file, os.O_RDONLY | os.O_NONBLOCK)
    open_at(file)
    return "a pipe"


def last_exact_result(file):
    while os.dup(0) < 15:
        pass
    with suppress(OSError):
        os.close(15)
    open_at(file)
    return "first descriptors"


@pytest.mark.parametrize("otherwise", [other_flags, other_creation, gone, a_directory, last_exact_result])
def test_the_same_file_called_for_otherwise(pair, file, otherwise):
    def body(learn):
        learn(lambda: open_at(file))
        otherwise(file)

    assert len(pair(body)) == 1


def test_a_file_that_is_new_this_time(pair, tmp_path):
    path = tmp_path / "tc-new"
    path.touch()

    def body(learn):
        learn(lambda: open_at(path, os.O_RDWR | os.O_CREAT, mode=0o600))
        path.unlink()
        for _ in range(2):
            open_at(path, os.O_RDWR | os.O_CREAT, mode=0o600)

    assert pair(body) == {"new": 1}


def test_a_pipe_in_place_of_a_file(pair, file):
    def body(learn):
        learn(lambda: open_at(file, os.O_RDONLY | os.O_NONBLOCK))
        file.unlink()
        os.mkfifo(file)
        open_at(file, os.O_RDONLY | os.O_NONBLOCK)

    assert pair(body) == {"a pipe": 1}


def test_refused(pair, tmp_path, call):
    """A file that was refused is looked up by its name, through links."""
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "tc-secret-refused").touch()
    (folder / "tc-secret-refused").chmod(0)
    (folder / "file").touch()
    (folder / "file").chmod(0)
    (tmp_path / "link").symlink_to("closed/file")
    for above in (tmp_path, *tmp_path.parents[:-2]):
        above.chmod(0o755)

    def body(learn):
        ready, go = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            call("setresuid", 1000, 1000, 1000)
            repeat(lambda: open_at(tmp_path / "link"))
            learn(lambda: open_at(tmp_path / "nothing"))  # by then all was looked up
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            open_at(tmp_path / "link")
            open_at(learn.end)
            os.read(go[0], 1)
        os.read(ready[0], 1)
        (tmp_path / "link").unlink()
        (tmp_path / "link").symlink_to("closed/tc-secret-refused")
        os.write(go[1], b"x")
        os.waitpid(pid, 0)

    assert pair(body) == {"refused": 1}


def test_a_test_of_two_parts(pair, tmp_path):
    """The name of the file that is opened and that of the program are two parts of what the filter knows."""

    def body(learn):
        rename_process("tc-any")
        executable = os.readlink("/proc/self/exe")
        repeat(lambda: open_at(tmp_path))
        open_at(executable)

    assert pair(body) == {"own name": 1}


def test_a_test_of_both_names(pair, tmp_path):
    (tmp_path / "tc-view").touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "tc-view").symlink_to("../tc-view")

    def body(learn):
        repeat(lambda: open_at(tmp_path / "tc-view"))
        open_at(tmp_path / "below" / "tc-view")

    assert pair(body) == {"own raw name": 1}


@pytest.mark.parametrize("name", ["chmod", "fchmodat", "fchmod"])
def test_other_calls(pair, file, call, name):
    def body(learn):
        fd = os.open(file, os.O_RDONLY)

        def change(mode):
            arguments = {"chmod": (file,), "fchmodat": (AT_FDCWD, file), "fchmod": (fd,)}[name]
            call(name, *arguments, mode)

        learn(lambda: change(0o644))
        change(0o4755)

    assert pair(body) == {"chmod with set-user-ID": 1}


_COMPAT = """
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <sys/prctl.h>
static char path[4096]; /* at an address of 32 bits */
static int compat(long number, const void *first, long second)
{
#ifdef __x86_64__
	long result;
	asm volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(0)
                 : "memory", "r8", "r9", "r10", "r11");
	return result;
#else /* all calls of this program have 32 bits */
	return syscall(number, first, second, 0);
#endif
}
int main(int count, char **words)
{
	strcpy(path, words[1]);
	for (int i = 0; i < 200; i++) {
		close(compat(5, path, O_RDONLY));
		close(open(path, O_RDONLY));
	}
	prctl(PR_SET_NAME, "tc-bad");
	close(compat(5, path, O_RDONLY));
	close(open(path, O_RDONLY));
	return compat(5, path, O_RDONLY) < 0;
}
"""


def test_calls_of_a_32_bit_program(pair, file, compiled_32_bit):
    program = compiled_32_bit(_COMPAT)

    def body(learn):
        in_child(lambda: os.execv(program, [program, str(file)]))

    assert pair(body) == {"process": 3}


# the rules


def test_other_rules(pair, file):
    """Calls that were dropped must pass when the rules change, and the calls dropped then must pass when they change
    back."""
    before = all_rules()
    extended = rules_of({**RULES, **MODES, "all": "fd.filename = tc-harmless"})
    reduced = rules_of({"mark": RULES["mark"], "secret": RULES["secret"]})

    def twice(learn):
        open_at(file)
        open_at(file)

    try:
        ready, go = os.pipe(), os.pipe()
        worker = os.fork()
        if worker == 0:
            while command := os.read(go[0], 1):
                for _ in range(100 if command == b"m" else 1):
                    open_at(file)
                os.write(ready[1], b"x")
            os._exit(0)

        def work(command):
            os.write(go[1], command)
            os.read(ready[0], 1)

        def alerts_of(command):
            return pair(lambda learn: work(command), of=worker)

        for _ in range(3):
            assert not alerts_of(b"m")
        pair.use(extended)
        assert alerts_of(b"1") == {"all": 1}
        pair.use(reduced)
        for _ in range(3):
            assert not alerts_of(b"m")
        pair.use(extended)
        assert alerts_of(b"1") == {"all": 1}
        assert pair(twice) == {"all": 2}
    finally:
        os.close(go[1])
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        pair.use(before)


FOLDERS = ["folder", "tc-folder", "tc-b"]
NAMES = ["file", "tc-harmless", "tc-secret", "tc-c", "tc-view"]


def wander(root, call, chance, depth=0):
    """Some random steps of a process. No call is refused: refused files are looked up later, when they may be
    others."""
    for _ in range(30):
        with suppress(OSError):
            step(root, call, chance, depth)


def step(root, call, chance, depth):
    folder, name = chance.choice(FOLDERS), chance.choice(NAMES)
    match chance.choices(range(9), [60, 30, 5, 3, 3, 1, 1, 1, 2])[0]:
        case 0:
            open_at(root / folder / name, chance.choice([os.O_RDONLY, os.O_RDONLY, os.O_RDWR]))
        case 1:
            open_at(chance.choice([name, f"{folder}/{name}", f"../{folder}/{name}"]))
        case 2:
            os.chdir(chance.choice([root, root / folder]))
        case 3:
            rename_process(chance.choice(["tc-bad", "tc-good", "tc-reaper", "tc-mother"]))
        case 4:
            made = root / folder / f"{os.getpid()}"
            made.symlink_to(f"../{chance.choice(FOLDERS)}/{chance.choice(NAMES)}")
            made.rename(root / folder / name)
        case 5 if depth < 2:
            seed = chance.random()
            in_child(lambda: wander(root, call, random.Random(seed), depth + 1))
        case 6:
            call("setresuid", -1, chance.choice([0, 12345, 54321]), -1)
        case 7:
            (root / folder / name).unlink()
        case 8:
            (root / folder / name).touch()


def test_many_processes_that_do_anything(pair, tmp_path, call):
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder).chmod(0o777)
        for name in NAMES:
            (tmp_path / folder / name).touch()
            (tmp_path / folder / name).chmod(0o666)
    for above in (tmp_path, *tmp_path.parents[:-2]):
        above.chmod(0o755)

    def work(seed, go, done):
        chance = random.Random(seed)
        while os.read(go, 1):
            wander(tmp_path, call, chance)
            os.write(done, b"x")

    def body(learn):
        os.umask(0)
        done, finished = os.pipe()
        starts = []
        for seed in range(6):
            go, start = os.pipe()
            if os.fork() == 0:
                os.close(start)
                work(seed, go, finished)
                os._exit(0)
            starts.append(start)
        for _ in range(30):  # so that no ring runs full
            for start in starts:
                os.write(start, b"x")
            for _ in starts:
                os.read(done, 1)
            learn.pause()

    before = pair.filtering.detector.counters().stopped
    assert pair(body).total() > 100
    assert pair.filtering.detector.counters().stopped > before
