"""What an attacker may try with names, memory and other ways into the kernel."""

from __future__ import annotations

import ctypes
import os
import socket
import threading

import pytest

HOSTILE = [
    b"line\nbreak",
    b"\x1b[2J\x1b]0;title\x07",
    b"\xff\xfe invalid \xc3\x28",
    b"\xe2\x80\xae reversed",
    b" ",
    b"$(reboot);`id`",
    b'\' OR "1"',
    b"deleted (deleted)",
    bytes(byte for byte in range(1, 256) if byte != 0x2F),
    b"\n" * 255,
    b"\xf0\x9f\xa6\x85" * 63,
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_name(run, call, tmp_path, name):
    path = os.fsencode(tmp_path) + b"/" + name

    def body():
        call("creat", path, 0o600)
        os.chdir(tmp_path)
        os.symlink(name, "link")
        call("open", b"link", os.O_RDONLY)
        call("unlink", name)

    done = run(body)
    shown = os.fsdecode(tmp_path) + "/" + name.decode("utf-8", "surrogateescape")
    assert [view["fd.name"] for view in done.one("creat").views()] == [shown]
    assert done.one("open")["fd.realname"] == shown
    event = done.one("unlink")
    assert (event["fs.path.name"], event["fs.path.nameraw"]) == (shown, name.decode("utf-8", "surrogateescape"))


def test_hostile_folders_all_the_way(run, call, tmp_path):
    """A name of 255 bytes, a path of 4095 bytes."""
    name = b"\xff\n\x1b" * 85
    deep = os.fsencode(tmp_path) + (b"/" + name) * ((4090 - len(os.fsencode(tmp_path))) // 256)

    def body():
        os.makedirs(deep)
        call("creat", deep + b"/file", 0o600)

    event = run(body).one("creat")
    shown = (deep + b"/file").decode("utf-8", "surrogateescape")
    assert [view["fd.name"] for view in event.views()] == [shown]
    assert event["fd.realname"] is None


def test_hostile_command_line(run, spawned):
    words = ["/bin/true", "\x1b[31m", "a\nb", "\udcff\udcfe", "", "c d"]
    event = run(lambda: spawned(words, {"LS_COLORS\n": "\udcff"})).one("execve")
    assert event["proc.args"] == "\x1b[31m a\nb \udcff\udcfe  c d"
    assert event["proc.args[3]"] == ""
    assert event["proc.args[4]"] == "c d"
    assert event["proc.env"] == "LS_COLORS\n=\udcff"


def test_hostile_process_name(run, call):
    def body():
        call("prctl", 15, b"a) R 1 1\n\xff\x1b[", 0, 0, 0)
        call("open", "/etc/hostname", os.O_RDONLY)

    event = run(body).one("open")
    assert event["proc.name"] == "a) R 1 1\n\udcff\x1b["


def test_path_that_changes_under_the_reader(run, compiled, tmp_path):
    """Another thread overwrites the path during the call. The name that the kernel used is always among the names."""
    (tmp_path / "innocent").touch()
    (tmp_path / "secret00").touch()
    program = compiled(
        """
        #include <pthread.h>
        #include <fcntl.h>
        #include <string.h>
        #include <unistd.h>
        #include <stdio.h>
        #include <sys/stat.h>
        static char path[4096]; static volatile int stop;
        static char *at;
        static void *flip(void *x) {
            while (!stop) { memcpy(at, "secret00", 8); memcpy(at, "innocent", 8); }
            return 0;
        }
        int main(int n, char **v) {
            strcpy(path, v[1]); at = path + strlen(path) - 8;
            pthread_t t; pthread_create(&t, 0, flip, 0);
            for (int i = 0; i < 2000; i++) {
                int fd = open(path, O_RDONLY); struct stat s;
                if (fd < 0) continue;
                fstat(fd, &s);
                ftruncate(fd, s.st_ino);   /* fails, and tells which file it was */
                close(fd);
            }
            stop = 1; pthread_join(t, 0);
        }"""
    )
    inode = (tmp_path / "secret00").stat().st_ino
    done = run(lambda: os.execv(program, ["race", f"{tmp_path}/innocent"]))
    opened = [event for event in done.all("openat", {"evt.failed": False}) if event["fd.ino"] == inode]
    truly = [event for event in done.all("ftruncate") if event["evt.arg.length"] == str(inode)]
    assert len(opened) == len(truly)
    for event in opened:
        assert f"{tmp_path}/secret00" in [view["fd.name"] for view in event.views()]


X86_32 = """
#define NR(name) NR_##name
enum { NR_openat = 295, NR_socket = 359, NR_connect = 362 };
#include <string.h>
#include <stdio.h>
#include <sys/mman.h>
#include <fcntl.h>
#include <stdlib.h>
static char *low;
static char *string(const char *text) {
    static int used; char *at = low + used; strcpy(at, text); used += (strlen(text) + 16) & ~15; return at;
}
static long legacy(long nr, long b, long c, long d, long s, long di) {
    long result; register long bp asm("r8") = 0; (void)bp;
    asm volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(b), "c"(c), "d"(d), "S"(s), "D"(di) : "memory");
    return (int)result;
}
int main(int n, char **v) {
    low = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (legacy(20, 0, 0, 0, 0, 0) <= 0) return 38;
    %s
}
"""

ARM_32 = """
#define NR(name) SYS_##name
#include <string.h>
#include <stdio.h>
#include <fcntl.h>
#include <stdlib.h>
#include <errno.h>
#include <unistd.h>
#include <sys/syscall.h>
static char low[65536];
static char *string(const char *text) {
    static int used; char *at = low + used; strcpy(at, text); used += (strlen(text) + 16) & ~15; return at;
}
static long legacy(long nr, long b, long c, long d, long s, long di) {
    long result = syscall(nr, b, c, d, s, di); return result < 0 ? -errno : result;
}
int main(int n, char **v) {
    %s
}
"""


def is_arm():
    return os.uname().machine == "aarch64"


@pytest.fixture
def legacy(compiled_32_bit, run):
    """Runs C code that makes 32-bit calls: ``legacy(number, five arguments)`` with strings from ``string()``; where the
    number isn't the same for all, ``NR(name)`` in its place."""

    def start(code, *arguments):
        program = compiled_32_bit((ARM_32 if is_arm() else X86_32).replace("%s", code))
        done = run(lambda: os.execv(program, ["legacy", *map(str, arguments)]))
        if done.one("procexit")["evt.rawres"] != 0:
            pytest.skip("the kernel takes no 32-bit calls")
        return done

    return start


def test_32_bit_open(legacy, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    done = legacy(
        """
        legacy(5, (long)string(v[1]), O_RDONLY, 0, 0, 0);
        legacy(NR(openat), -100, (long)string(v[1]), O_RDWR, 0, 0);
        legacy(5, (long)string("/nonexistent"), O_WRONLY, 0, 0, 0);
        """,
        tmp_path / "link",
    )
    event = done.one("open", {"evt.failed": False})
    assert (event["fd.name"], event["fd.realname"]) == (f"{tmp_path}/link", f"{tmp_path}/file")
    assert (event["evt.is_open_read"], event["fd.num"] >= 0) == (True, True)
    event = done.one("openat", {"evt.is_open_write": True})
    assert (event["fd.name"], event["evt.arg.dirfd"]) == (f"{tmp_path}/link", "AT_FDCWD")
    event = done.one("open", {"evt.failed": True})
    assert (event["evt.res"], event["evt.rawres"], event["fd.name"]) == ("ENOENT", -2, "/nonexistent")


def test_32_bit_names(legacy, tmp_path):
    (tmp_path / "a").touch()
    done = legacy(
        """
        char *a = string(v[1]), *b = string(v[2]);
        legacy(15, (long)a, 04755, 0, 0, 0);
        legacy(38, (long)a, (long)b, 0, 0, 0);
        legacy(10, (long)b, 0, 0, 0, 0);
        """,
        tmp_path / "a",
        tmp_path / "b",
    )
    assert "S_ISUID" in done.one("chmod")["evt.arg.mode"]
    event = done.one("rename")
    assert (event["fs.path.source"], event["fs.path.target"]) == (f"{tmp_path}/a", f"{tmp_path}/b")
    assert done.one("unlink")["fs.path.name"] == f"{tmp_path}/b"


def test_32_bit_exec(legacy):
    done = legacy(
        """
        unsigned *argv = (unsigned *)string("0123456789abcdef0123456789abcdef");
        char *path = string("/nonexistent/program");
        argv[0] = (unsigned)(long)string("name"); argv[1] = (unsigned)(long)string("argument"); argv[2] = 0;
        legacy(11, (long)path, (long)argv, 0, 0, 0);
        path = string("/bin/true");
        legacy(11, (long)path, (long)argv, 0, 0, 0);
        """
    )
    event = done.one("execve", {"evt.failed": True})
    assert (event["evt.arg.filename"], event["evt.arg.args"]) == ("/nonexistent/program", "argument")
    event = done.one("execve", {"proc.name": "true"})
    assert (event["proc.exe"], event["proc.args"], event["evt.res"]) == ("name", "argument", "SUCCESS")


def listener():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    thread = threading.Thread(target=server.accept, daemon=True)
    thread.start()
    return server


CONNECT = """
    unsigned char *address = (unsigned char *)string("0123456789abcdef0123456789abcdef");
    int port = atoi(v[1]);
    memset(address, 0, 16); address[0] = 2; address[2] = port >> 8; address[3] = port; address[4] = 127; address[7] = 1;
"""


def test_32_bit_connect(legacy):
    with listener() as server:
        port = server.getsockname()[1]
        code = "legacy(NR(connect), legacy(NR(socket), 2, 1, 0, 0, 0), (long)address, 16, 0, 0);"
        done = legacy(CONNECT + code, port)
    assert done.one("socket")["evt.arg.domain"] == "AF_INET"
    event = done.one("connect")
    assert (event["evt.res"], event["fd.sip"], event["fd.sport"]) == ("SUCCESS", "127.0.0.1", port)


def test_32_bit_connect_through_socketcall(legacy):
    """The one call behind which 32-bit programs reached all of the socket calls."""
    if is_arm():
        pytest.skip("arm has no socketcall")
    with listener() as server:
        port = server.getsockname()[1]
        done = legacy(
            CONNECT
            + """
            unsigned *list = (unsigned *)string("0123456789abcdef0123456789abcdef");
            list[0] = 2; list[1] = 1; list[2] = 0;
            int fd = legacy(102, 1, (long)list, 0, 0, 0);
            list[0] = fd; list[1] = (unsigned)(long)address; list[2] = 16;
            legacy(102, 3, (long)list, 0, 0, 0);
            list[1] = (unsigned)(long)string("data"); list[2] = 4; list[3] = 0;
            legacy(102, 9, (long)list, 0, 0, 0);
            """,
            port,
        )
    event = done.one("socket")
    assert (event["evt.arg.domain"], event["evt.arg.type"]) == ("AF_INET", "SOCK_STREAM")
    event = done.one("connect")
    assert (event["evt.res"], event["fd.sip"], event["fd.sport"]) == ("SUCCESS", "127.0.0.1", port)
    event = done.one("sendto")
    assert (event["evt.rawres"], event["evt.buffer"], event["fd.sport"]) == (4, b"data", port)


def test_32_bit_arguments_of_arm_that_stand_elsewhere(legacy, tmp_path):
    """A length of 64 bits is in an even register and the next; send() has no address, whatever the registers hold."""
    if not is_arm():
        pytest.skip("a matter of arm")
    with listener() as server:
        port = server.getsockname()[1]
        done = legacy(
            CONNECT
            + """
            int fd = legacy(NR(socket), 2, 1, 0, 0, 0);
            legacy(NR(connect), fd, (long)address, 16, 0, 0);
            legacy(NR(send), fd, (long)string("data"), 4, 0, (long)address);
            legacy(NR(ftruncate64), legacy(8, (long)string(v[2]), 0600, 0, 0, 0), 7, 5, 1, 0);
            """,
            port,
            tmp_path / "file",
        )
    event = done.one("sendto")
    assert (event["evt.rawres"], event["evt.buffer"], event["fd.sport"]) == (4, b"data", port)
    assert done.one("creat")["fd.name"] == f"{tmp_path}/file"
    assert done.one("ftruncate")["evt.arg.length"] == str((1 << 32) + 5)


def test_a_number_behind_all_others_is_no_call(run, call):
    """The entries at these numbers are only used for the numbers of 32-bit programs."""
    done = run(lambda: [call("close", number=number) for number in range(512, 544)])
    assert {event["evt.type"] for event in done.events} <= {"kill", "procexit"}


def test_a_64_bit_program_that_becomes_a_32_bit_one_by_execveat(compiled_32_bit, run, call):
    """Its number is socket's among those of arm."""
    program = compiled_32_bit("int main(void) { return 0; }")

    def body():
        words = (ctypes.c_char_p * 2)(b"a name", None)
        call("execveat", -100, program, words, (ctypes.c_char_p * 1)(None), 0)

    done = run(body)
    assert done.one("execve")["proc.exe"] == "a name"
    assert not done.all("socket")
