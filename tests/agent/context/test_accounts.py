"""Names of users and groups, from real files of real processes."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from agent_support.file_server import file_server
from agent_support.looking_up import at_once
from hypothesis import given
from hypothesis import strategies as st

from tiercel_agent.context import account_files
from tiercel_agent.context.account_files import MAX_FILE
from tiercel_agent.context.accounts import (
    MAX_ENTRIES,
    Accounts,
    Group,
    User,
    host_root,
    parse_group,
    parse_passwd,
)
from tiercel_agent.context.idmap import IdMap, parse_id_map
from tiercel_agent.context.nss import Nss
from tiercel_agent.context.rootfs import process_directory, start_of
from tiercel_agent.lookups.lookups import Lookups

Contained = Callable[..., subprocess.Popen[str]]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def accounts(clock: Callable[[], float] = lambda: 0.0, limit: int = 512) -> Accounts:
    return Accounts(at_once, nss=Nss(enabled=False), clock=clock, limit=limit)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A container's root file system."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:1000:1000:App,,,:/srv/app:/bin/false\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nstaff:x:50:app,root\n")
    return tmp_path


@needs_root
def test_the_hosts_names_are_those_of_the_first_process(root: Path, contained: Contained) -> None:
    """The /etc/passwd of an agent in a container is that of its image, and nothing of the host is mounted there."""
    first = f"/proc/{contained(root).pid}/root"
    assert host_root(first) == first
    names = Accounts(at_once, host_root=host_root(first))
    user, group = names.user(os.getpid(), None, 1000), names.group(os.getpid(), None, 50)
    assert (user, group) == (User(1000, "app", "/srv/app", "/bin/false"), Group(50, "staff"))
    assert names.user(os.getpid(), None, 1) is None  # nobody asks the image's name service
    (root / "etc/new").write_text("app2:x:1000:1000::/:/bin/sh\n")
    (root / "etc/new").rename(root / "etc/passwd")  # as passwd changes: a mounted file would stay the old one
    assert Accounts(at_once, host_root=first).user(os.getpid(), None, 1000) == User(1000, "app2", "/", "/bin/sh")


def test_on_the_host_itself_the_first_process_has_the_same_root() -> None:
    assert host_root("/proc/self/root") == "/"
    assert host_root("/proc/nobody/root") == "/"


def test_passwd_lines() -> None:
    assert parse_passwd(b"web:x:33:33:www:/var/www:/usr/sbin/nologin\n") == {
        33: User(33, "web", "/var/www", "/usr/sbin/nologin")
    }


def test_group_lines() -> None:
    assert parse_group(b"adm:x:4:syslog\nempty:x:5:\n") == {4: Group(4, "adm"), 5: Group(5, "empty")}


def test_the_first_of_two_entries_counts() -> None:
    assert parse_passwd(b"a:x:0:0::/:/b\nz:x:0:0::/:/b\n")[0].name == "a"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\0" * 100,
        b"a:x:0",
        b":x:0:0::/:/b",
        b"a:x::0::/:/b",
        b"a:x:-1:0::/:/b",
        b"a:x:0x0:0::/:/b",
        b"a:x:99999999999:0::/:/b",
        b"a:x:4294967296:0::/:/b",
        "a:x:٣:0::/:/b".encode(),
        b"a" * 1000 + b":x:0:0::/:/b",
    ],
)
def test_lines_that_are_no_entry(line: bytes) -> None:
    assert parse_passwd(line + b"\ngood:x:7:7::/:/b") == {7: User(7, "good", "/", "/b")}


def test_invalid_utf8_is_kept() -> None:
    assert parse_passwd(b"a\xff:x:1:1::/:/b")[1].name == "a\udcff"


def test_entries_are_bounded() -> None:
    content = b"".join(b"u%d:x:%d:0::/:/b\n" % (number, number) for number in range(MAX_ENTRIES + 10))
    assert len(parse_passwd(content)) == MAX_ENTRIES


@given(st.binary(max_size=500) | st.lists(st.sampled_from([b"a", b"7", b":", b"\n", b"\xff"])).map(b"".join))
def test_any_content_has_an_answer(content: bytes) -> None:
    """The names are those at the beginnings of the lines."""
    begins = {line.partition(b":")[0] for line in content.split(b"\n")}
    named: list[User | Group] = [*parse_passwd(content).values(), *parse_group(content).values()]
    assert {each.name.encode("utf-8", "surrogateescape") for each in named} <= begins


@needs_root
def test_a_container_has_its_own_names(root: Path, contained, mount_namespace) -> None:
    pid = contained(root).pid
    names = accounts()
    assert names.user(pid, mount_namespace(pid), 1000) == User(1000, "app", "/srv/app", "/bin/false")
    assert names.group(pid, mount_namespace(pid), 50) == Group(50, "staff")
    assert names.user(pid, mount_namespace(pid), 4711) is None


def test_the_hosts_names_are_the_hosts() -> None:
    user = accounts().user(1, None, 0)
    assert user is not None
    assert user.name == "root"
    group = accounts().group(1, None, 0)
    assert group is not None
    assert group.name == "root"


@needs_root
def test_a_host_process_cannot_rename_itself(root: Path, contained) -> None:
    (root / "etc/passwd").write_text("nobody:x:0:0::/:/bin/sh\n")
    user = accounts().user(contained(root).pid, None, 0)
    assert user is not None
    assert user.name == "root"


@needs_root
def test_files_on_a_server_that_does_not_answer(root: Path, tmp_path: Path, contained, mount_namespace) -> None:
    """A process that has put its root there has no names, and others of the container keep theirs."""
    server = file_server(tmp_path / "served", b"")
    lookups = Lookups([account_files.__name__])
    try:
        lookups.wait_until_ready(60)
        names = Accounts(lookups.ask, nss=Nss(enabled=False))
        pid, other = contained(server.folder).pid, contained(root).pid
        assert names.user(other, mount_namespace(other), 1000).name == "app"
        server.fall_silent()
        assert names.user(pid, mount_namespace(pid), 0, "container a") is None
        assert names.user(other, mount_namespace(other), 1000).name == "app"
        assert names.user(pid, None, 0).name == "root"
        assert lookups.unanswered == 1
    finally:
        server.close()
        lookups.close()


@needs_root
def test_a_change_is_seen_after_a_second(root: Path, contained, mount_namespace) -> None:
    clock = Clock()
    names = accounts(clock)
    pid = contained(root).pid
    namespace = mount_namespace(pid)
    assert names.user(pid, namespace, 1001) is None
    (root / "etc/passwd").write_text("new:x:1001:1001::/:/bin/sh\n")
    clock.now = 0.5
    assert names.user(pid, namespace, 1001) is None
    clock.now = 1
    assert names.user(pid, namespace, 1001) == User(1001, "new", "/", "/bin/sh")
    (root / "etc/passwd").unlink()
    clock.now = 2
    assert names.user(pid, namespace, 1001) is None


@needs_root
def test_a_process_that_ended_has_its_containers_names(root: Path, contained, mount_namespace) -> None:
    process = contained(root)
    namespace = mount_namespace(process.pid)
    names = accounts()
    names.user(process.pid, namespace, 0)
    process.kill()
    process.communicate()
    assert names.user(process.pid, namespace, 1000) is not None


@needs_root
def test_not_knowing_is_not_final(root: Path, contained, mount_namespace) -> None:
    pid = contained(root).pid
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    names = accounts()
    assert names.user(gone.pid, mount_namespace(pid), 1000) is None
    assert names.user(pid, mount_namespace(pid), 1000) is not None


@needs_root
def test_a_reused_process_number_is_noticed(root: Path, contained, mount_namespace) -> None:
    pid = contained(root).pid
    assert accounts().user(os.getpid(), mount_namespace(pid), 0) is None


@needs_root
def test_a_later_process_of_its_number_is_another(root: Path, contained, mount_namespace) -> None:
    """Even if it is in the same container."""
    pid = contained(root).pid
    with process_directory(pid) as process_fd:
        start = start_of(process_fd)
    namespace = mount_namespace(pid)
    assert accounts().user(pid, namespace, 1000, start=start - 1) is None
    assert accounts().group(pid, namespace, 50, start=start - 1) is None
    assert accounts().user(pid, namespace, 1000, start=start) == User(1000, "app", "/srv/app", "/bin/false")


@needs_root
def test_a_chrooted_process_speaks_for_itself_alone(root: Path, contained, mount_namespace) -> None:
    jail = root / "jail"
    (jail / "etc").mkdir(parents=True)
    (jail / "etc/passwd").write_text("admin:x:1000:0::/:/bin/sh\n")
    pid = contained(root).pid
    namespace = mount_namespace(pid)
    jailed = contained(root, join=pid, directory="/jail")
    assert mount_namespace(jailed.pid) == namespace
    names = accounts()
    assert names.user(pid, namespace, 1000).name == "app"
    assert names.user(jailed.pid, namespace, 1000).name == "admin"
    assert names.user(pid, namespace, 1000).name == "app"
    for process in (pid, jailed.pid):
        os.kill(process, 9)
        os.waitpid(process, 0)
    assert names.user(pid, namespace, 1000).name == "app"


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    os.mknod(path, 0o20666, os.makedev(1, 5))  # /dev/zero: never ends


def _large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_FILE + 1)


def _link_to_itself(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _magic_link(path: Path) -> None:
    path.symlink_to("/proc/self/fd/0")


def _directory(path: Path) -> None:
    path.mkdir()


@needs_root
@pytest.mark.parametrize("make", [_fifo, _device, _large, _link_to_itself, _magic_link, _directory])
def test_a_hostile_file_has_no_names(root: Path, contained, mount_namespace, make: Callable[[Path], None]) -> None:
    (root / "etc/passwd").unlink()
    make(root / "etc/passwd")
    pid = contained(root).pid
    names = accounts()
    assert names.user(pid, mount_namespace(pid), 0) is None
    assert names.group(pid, mount_namespace(pid), 50) == Group(50, "staff")


@needs_root
@pytest.mark.parametrize("target", ["/secret/passwd", "../../../../../../secret/passwd"])
def test_a_link_stays_inside_the_container(root: Path, contained, mount_namespace, target: str) -> None:
    (root / "secret").mkdir()
    (root / "secret/passwd").write_text("inside:x:0:0::/:/bin/sh\n")
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to(target)
    pid = contained(root).pid
    assert accounts().user(pid, mount_namespace(pid), 0) == User(0, "inside", "/", "/bin/sh")


@needs_root
def test_containers_are_bounded(root: Path, contained, mount_namespace) -> None:
    first, second = contained(root), contained(root)
    namespaces = [mount_namespace(process.pid) for process in (first, second)]
    names = accounts(limit=1)
    for process, namespace in zip((first, second), namespaces, strict=True):
        assert names.user(process.pid, namespace, 0) is not None
        process.kill()
        process.communicate()
    assert names.user(first.pid, namespaces[0], 0) is None
    assert names.user(second.pid, namespaces[1], 0) is not None


@needs_root
def test_a_user_namespace_counts_users_in_its_own_way(root: Path, contained, mount_namespace) -> None:
    root.chmod(0o755)
    pid = contained(root, user=100_000).pid
    names = accounts()
    assert names.user(pid, mount_namespace(pid), 101_000) == User(1000, "app", "/srv/app", "/bin/false")
    assert names.group(pid, mount_namespace(pid), 100_050) == Group(50, "staff")
    assert names.user(pid, mount_namespace(pid), 1000) is None


def test_ranges_of_an_id_map() -> None:
    mapped = parse_id_map("         0     100000      65536\n     70000   1000   1\nbad line\n")
    assert [mapped.inside(number) for number in (100_000, 165_535, 165_536, 1000)] == [0, 65_535, None, 70_000]
    assert IdMap().inside(5) == 5


def test_the_name_service_is_asked_for_what_files_do_not_have() -> None:
    asked: list[int] = []

    def directory(uid: int) -> tuple[str, str, str]:
        asked.append(uid)
        return ("ldapuser", "/home/l", "/bin/zsh")

    names = Accounts(at_once, nss=Nss(enabled=True, user=directory, patience=30), clock=lambda: 0.0)
    assert names.user(1, None, 3_000_000_000) == User(3_000_000_000, "ldapuser", "/home/l", "/bin/zsh")
    assert names.user(1, None, 3_000_000_000) is not None
    assert names.user(1, None, 0).name == "root"
    assert asked == [3_000_000_000]
    names.close()


def test_a_name_service_that_hangs_holds_nobody() -> None:
    release = threading.Event()

    def hanging(uid: int) -> tuple[str, str, str]:
        release.wait()
        return (f"user{uid}", "/", "/bin/sh")

    nss = Nss(enabled=True, user=hanging, patience=0)
    assert nss.user(1) is None
    # it would wait for ever if it waited for the first answer
    nss._patience = 1e6
    assert nss.user(2) is None
    release.set()
    with nss._changed:
        nss._changed.wait_for(lambda: len(nss._answers) == 2)
    assert nss.user(1) == ("user1", "/", "/bin/sh")
    nss.close()


def test_an_answer_of_the_name_service_ages() -> None:
    clock = Clock()
    answers = iter([None, "late"])
    nss = Nss(enabled=True, group=lambda _: next(answers), patience=30, lifetime=10, clock=clock)
    assert nss.group(5) is None
    clock.now = 9
    assert nss.group(5) is None
    clock.now = 10
    assert nss.group(5) == "late"
    nss.close()
