"""The rules that come with Tiercel: they load, alert on what they are for, and leave ordinary work alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tiercel_agent.evaluation.rule_set import default_rules, load_rule_set
from tiercel_engine.event import Event


@pytest.fixture(scope="module")
def rules():
    return load_rule_set([default_rules()])


def event(event_type: str, container: Any = "host", **fields: Any) -> Event:
    """An event by root's shell."""
    known: dict[str, Any] = {
        "evt.type": event_type,
        "evt.res": "SUCCESS",
        "evt.rawres": 0,
        "proc.name": "bash",
        "proc.exepath": "/usr/bin/bash",
        "proc.pexepath": "/usr/sbin/sshd",
        "proc.aexepath": ["/usr/sbin/sshd", "/usr/lib/systemd/systemd"],
        "proc.tty": 0,
        "proc.is_exe_from_memfd": False,
        "container.id": container,
    }
    return Event("syscall", 1, {**known, **fields})


def opened(path: str, how: str = "read", container: str = "host", **fields: Any) -> Event:
    directory, _, filename = path.rpartition("/")
    file = {"fd.name": path, "fd.directory": directory, "fd.filename": filename, "fd.typechar": "f", "fd.num": 3}
    return event(
        "openat",
        container,
        **file,
        **{"evt.is_open_read": how == "read", "evt.is_open_write": how == "write"},
        **fields,
    )


def by(path: str, *ancestors: str) -> dict[str, Any]:
    return {"proc.exepath": path, "proc.name": path.rpartition("/")[2], "proc.aexepath": list(ancestors)}


def at_agent(event_type: str, container: str = "host", **fields: Any) -> Event:
    """An event that is aimed at the agent."""
    return event(event_type, container, **{"tiercel.targets_agent": True, **fields})


AT_AGENT: dict[str, Any] = {"tiercel.targets_agent": True}
AT_OTHERS: dict[str, Any] = {"tiercel.targets_agent": False}
C = "0123456789ab"
ATTACKS = [
    ("Sensitive file opened for reading", opened("/etc/shadow", **by("/usr/bin/cat"))),
    ("Sensitive file opened for reading", opened("/etc/sudoers.d/admins", container=C)),
    ("Sensitive file opened for reading", opened("/home/a/.ssh/id_ed25519", **by("/usr/bin/scp"))),
    ("Sensitive file opened for reading", opened("/etc/ssh/ssh_host_rsa_key")),
    (
        "Service account token read by a tool",
        opened("/var/run/secrets/kubernetes.io/serviceaccount/token", container=C),
    ),
    ("Account or login file changed", opened("/etc/passwd", "write")),
    ("Account or login file changed", opened("/root/.ssh/authorized_keys", "write")),
    ("Account or login file changed", event("rename", **{"evt.abspath.dst": "/etc/sudoers.d/x"})),
    ("Program directory changed", opened("/usr/bin/ls", "write", C)),
    ("Program directory changed", event("renameat2", **{"evt.abspath.dst": "/usr/local/bin/x"})),
    ("Start-up or scheduled task changed", opened("/etc/cron.d/x", "write")),
    ("Start-up or scheduled task changed", opened("/etc/systemd/system/x.service", "write")),
    ("Library preload configured", opened("/etc/ld.so.preload", "write", **by("/usr/bin/dpkg"))),
    ("File below /etc changed", opened("/etc/hosts", "write")),
    ("Setuid program created", event("fchmodat", **{"evt.arg.mode": "S_ISUID|S_IXUSR"})),
    ("Interactive shell in a container", event("execve", C, **{"proc.tty": 34816})),
    ("Package manager run in a container", event("execve", C, **by("/usr/bin/apt-get"), **{"proc.pname": "sh"})),
    ("Program run from memory or a temporary folder", event("execveat", **{"proc.is_exe_from_memfd": True})),
    ("Program run from memory or a temporary folder", event("execve", **by("/dev/shm/x"))),
    ("Program run from memory or a temporary folder", event("execve", C, **by("/tmp/x"))),
    (
        "Network connection became a program's standard input or output",
        event("dup2", **{"fd.typechar": "4", "evt.rawres": 0}),
    ),
    ("Another process taken over", event("ptrace", **{"evt.arg.request": "PTRACE_ATTACH"})),
    ("Cloud metadata address contacted from a container", event("connect", C, **{"fd.sip": "169.254.169.254"})),
    ("Logs removed or emptied", event("unlinkat", **{"evt.abspath": "/var/log/auth.log"})),
    ("Logs removed or emptied", event("unlink", **{"evt.abspath": "/root/.bash_history"})),
    ("Kernel module loaded", event("finit_module", **by("/usr/bin/kmod"), **{"proc.cmdline": "insmod x.ko"})),
    ("Kernel module loaded", event("init_module", C, **by("/usr/bin/dpkg"))),
    ("eBPF program loaded", event("bpf", **{"evt.arg.cmd": "BPF_PROG_LOAD"})),
    ("Signal to the agent", at_agent("kill", **{"evt.arg.sig": "SIGSTOP"})),
    ("Signal to the agent", at_agent("kill", **{"evt.arg.sig": "SIGSTOP"}, **by("/usr/lib/systemd/systemd"))),
    ("Signal to the agent", at_agent("tgkill", **{"evt.arg.sig": "SIGTERM"}, **by("/tmp/systemd"))),
    ("Signal to the agent", at_agent("kill", C, **{"evt.arg.sig": "SIGKILL"}, **by("/usr/lib/systemd/systemd"))),
    ("Signal to the agent", at_agent("pidfd_send_signal", **{"evt.arg.sig": "37"})),
    ("Agent taken over", at_agent("ptrace", **{"evt.arg.request": "PTRACE_SEIZE", "evt.res": "EPERM"})),
    ("Agent taken over", opened("/proc/4711/mem", "write", **AT_AGENT)),
    ("Agent taken over", opened("/mnt/4711/mem", "write", C, **AT_AGENT)),
    ("Agent's eBPF reached", at_agent("bpf", **{"evt.arg.cmd": "BPF_LINK_GET_FD_BY_ID"}, **by("/usr/sbin/bpftool"))),
    ("Container reached for the host", event("setns", C)),
    ("Container reached for the host", event("mount", C, **{"evt.arg.dev": "/dev/sda1"})),
    ("Container reached for the host", opened("/sys/fs/cgroup/rdma/x/release_agent", "write", C)),
]

ORDINARY = [
    opened("/etc/shadow", **by("/usr/sbin/sshd")),
    opened("/etc/shadow", **by("/usr/bin/sudo")),
    opened("/etc/shadow", **by("/usr/sbin/cron")),
    opened("/etc/shadow", **by("/usr/bin/passwd")),
    opened("/etc/gshadow", **by("/usr/bin/systemd-sysusers")),
    opened("/etc/shadow", **by("/usr/bin/cp", "/usr/bin/dash", "/usr/bin/dpkg", "/usr/bin/apt-get")),
    opened("/etc/ssh/ssh_host_rsa_key", **by("/usr/sbin/sshd")),
    opened("/home/a/.ssh/id_rsa", **by("/usr/bin/ssh")),
    opened("/home/a/.ssh/id_rsa.pub"),
    opened("/etc/passwd"),
    opened("/etc/passwd", "write", **by("/usr/sbin/useradd")),
    event("rename", **{"evt.abspath.dst": "/etc/shadow"}, **by("/usr/bin/passwd")),
    opened("/usr/bin/ls", "write", **by("/usr/bin/dpkg", "/usr/bin/apt-get")),
    event("rename", **{"evt.abspath.dst": "/usr/bin/ls"}, **by("/usr/bin/dpkg", "/usr/bin/apt-get")),
    opened("/etc/systemd/system/x.service", "write", **by("/usr/bin/systemctl")),
    opened("/var/spool/cron/crontabs/a", "write", **by("/usr/bin/crontab")),
    opened("/etc/resolv.conf", "write", **by("/usr/bin/bash", "/usr/sbin/dhclient")),
    event("rename", **{"evt.abspath.dst": "/etc/ld.so.cache"}, **by("/usr/sbin/ldconfig")),
    event("fchmod", **{"evt.arg.mode": "S_ISUID"}, **by("/usr/bin/dpkg")),
    event("chmod", **{"evt.arg.mode": "S_IXUSR|S_IRUSR"}),
    event("execve", **{"proc.tty": 34816}),
    event("execve", C),
    event("execve", **by("/tmp/installer")),
    event("execve", **{"proc.is_exe_from_memfd": True, "proc.pexepath": "/usr/bin/containerd-shim-runc-v2"}),
    event("dup2", **{"fd.typechar": "f", "evt.rawres": 0}),
    event("dup2", **{"fd.typechar": "4", "evt.rawres": 7}),
    event("ptrace", **{"evt.arg.request": "PTRACE_TRACEME"}),
    event("connect", **{"fd.sip": "169.254.169.254"}),
    event("connect", C, **{"fd.sip": "10.0.0.1"}),
    event("unlink", **{"evt.abspath": "/var/log/syslog.7.gz"}, **by("/usr/sbin/logrotate")),
    event("finit_module", **by("/usr/lib/systemd/systemd-udevd")),
    event("finit_module", **by("/usr/bin/kmod"), **{"proc.cmdline": "modprobe -q -- net-pf-10"}),
    event("bpf", **{"evt.arg.cmd": "BPF_PROG_LOAD"}, **by("/usr/lib/systemd/systemd")),
    event("bpf", **{"evt.arg.cmd": "BPF_MAP_LOOKUP_ELEM"}),
    at_agent("kill", **{"evt.arg.sig": "SIGTERM"}, **by("/usr/lib/systemd/systemd")),
    at_agent("kill", **{"evt.arg.sig": "SIGKILL"}, **by("/usr/bin/runc")),
    at_agent("kill", **{"evt.arg.sig": "SIGHUP"}),
    at_agent("kill", **{"evt.arg.sig": "0"}),
    event("kill", **{"evt.arg.sig": "SIGKILL", "tiercel.targets_agent": False}),
    event("process_vm_readv"),
    opened("/proc/4711/mem", "write", **AT_OTHERS),
    opened("/proc/4711/mem", **AT_AGENT),
    opened("/proc/4711/oom_score_adj", "write", **AT_AGENT, **by("/usr/bin/runc")),
    event("bpf", **{"evt.arg.cmd": "BPF_MAP_GET_FD_BY_ID", "tiercel.targets_agent": False}),
    event("setns", **by("/usr/bin/nsenter")),
    event("setns", C, **{"proc.is_exe_from_memfd": True, "proc.pexepath": "/usr/bin/runc"}),
    event("setns", C, **{"proc.exepath": "/", "proc.pexepath": "/usr/sbin/runc"}),
]


def alerts(rules, happened: Event) -> list[str]:
    return [rule.name for rule, _ in rules.matcher.match(happened)]


def test_they_load_without_a_word(rules):
    assert (rules.errors, rules.warnings) == ((), ())


def test_every_rule_is_shown_to_fire(rules):
    assert {rule.name for rule in rules.rules} == {name for name, _ in ATTACKS}


@pytest.mark.parametrize(("name", "happened"), ATTACKS)
def test_attacks_raise_their_alert_and_no_other(rules, name: str, happened: Event):
    assert alerts(rules, happened) == [name]


@pytest.mark.parametrize("happened", ORDINARY, ids=lambda happened: happened["evt.type"])
def test_ordinary_work_is_quiet(rules, happened: Event):
    assert alerts(rules, happened) == []


def test_a_program_that_takes_an_excused_name_is_not_excused(rules):
    assert alerts(rules, opened("/etc/shadow", **{**by("/tmp/sshd"), "proc.name": "sshd"})) == [
        "Sensitive file opened for reading"
    ]


def test_each_says_who_did_it_and_carries_a_technique(rules):
    for rule in rules.rules:
        assert {"%proc.name", "%proc.cmdline"} & set(rule.output.replace("=", " ").split()), rule.name
        assert "%proc.pname" in rule.output
        assert "%user.name" in rule.output
        assert "%container" in rule.output
        assert any(tag.startswith("mitre_") for tag in rule.tags)
        assert any(tag[0] == "T" and tag[1:5].isdigit() for tag in rule.tags)


def test_the_package_carries_the_rules_of_the_repository():
    folder = Path(__file__).parents[3] / "config" / "rules"
    assert sorted(path.name for path in default_rules().iterdir()) == sorted(path.name for path in folder.iterdir())
