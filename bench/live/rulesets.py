"""Sets of rules of any size, as teams write them: many kinds, about many services, none about what the loads do.

The same number always gives the same rules, and a larger set holds the smaller one.
"""

from __future__ import annotations

from collections.abc import Iterator

SERVICES = (
    "postgresql mysql redis mongodb etcd vault consul rabbitmq kafka zookeeper elasticsearch cassandra grafana "
    "prometheus haproxy traefik envoy nginx apache2 tomcat jenkins gitea harbor keycloak openldap bind9 dovecot "
    "postfix samba proftpd memcached clickhouse influxdb minio nats nomad airflow superset metabase sonarqube"
).split()

MACROS = """\
- list: package_programs
  items: [/usr/bin/apt, /usr/bin/apt-get, /usr/bin/dpkg, /usr/bin/rpm, /usr/bin/dnf, /usr/bin/yum, /usr/bin/snap]

- list: shell_names
  items: [sh, bash, dash, ash, zsh, ksh, fish, csh, tcsh]

- list: maintenance_names
  items: [systemd, systemd-tmpfile, logrotate, ansible, puppet, chef-client, salt-minion, unattended-upgr]

- macro: open_read
  condition: evt.type in (open, openat, openat2) and evt.is_open_read = true and fd.typechar = 'f' and fd.num >= 0

- macro: open_write
  condition: evt.type in (open, openat, openat2) and evt.is_open_write = true and fd.typechar = 'f' and fd.num >= 0

- macro: spawned
  condition: evt.type in (execve, execveat) and evt.res = SUCCESS

- macro: outbound
  condition: evt.type = connect and fd.typechar in (4, 6)

- macro: in_container
  condition: container.id != host

- macro: maintained
  condition: >-
    proc.exepath in (package_programs) or proc.aexepath in (package_programs) or proc.name in (maintenance_names)
"""

KINDS = (
    ("Key of {s} read", "open_read and fd.name startswith /etc/{s}/private/ and not proc.name in ({s}, {s}-backup)"),
    ("Shell started by {s}", "spawned and proc.pname = {s} and proc.name in (shell_names)"),
    (
        "Credentials of {s} read",
        "open_read and fd.name in (/etc/{s}/credentials, /etc/{s}/{s}.pass, /root/.{s}rc, /var/lib/{s}/.secret) "
        "and not maintained",
    ),
    ("Admin port of {s}", "outbound and fd.sport in ({port}, {port2}) and not proc.name in ({s}, {s}ctl, haproxy)"),
    ("Program of {s} changed", "open_write and fd.name pmatch (/opt/{s}/bin, /usr/lib/{s}) and not maintained"),
    ("Log of {s} removed", "evt.type in (unlink, unlinkat) and fs.path.name pmatch (/var/log/{s}) and not maintained"),
    ("Dump of {s} written", "open_write and fd.name endswith .{s}.dump and not proc.name = {s}-backup"),
    (
        "Miner beside {s}",
        "spawned and (proc.name in (xmrig, {s}-miner, minerd) or proc.cmdline contains stratum+tcp://{s})",
    ),
    ("Home configuration of {s}", "open_read and fd.name glob /home/*/.config/{s}/*.token and in_container"),
    (
        "Traced {s}",
        "evt.type = ptrace and evt.arg.request in (PTRACE_ATTACH, PTRACE_POKETEXT) and proc.pname = {s} "
        "and proc.name != {s}-debug",
    ),
    ("Written to {s} in a container", "in_container and open_write and fd.name startswith /etc/{s}/"),
    ("Cache of {s} read by others", "open_read and fd.name contains /.{s}/cache and not proc.name startswith {s}"),
    ("Download below {s}", "spawned and proc.aname = {s} and proc.name in (curl, wget) and proc.args contains http"),
    ("Network of {s}", "outbound and fd.snet in (10.{net}.0.0/16, 172.{net16}.4.0/22) and proc.pname = {s}"),
    (
        "Unit of {s} changed",
        "open_write and fd.directory in (/etc/systemd/system/{s}.service.d, /usr/lib/systemd/{s}) and not maintained",
    ),
    (
        "Configuration of {s} replaced",
        "evt.type in (rename, renameat, renameat2) and evt.res = SUCCESS and fs.path.target startswith /etc/{s}/ "
        "and not maintained",
    ),
    (
        "Permissions of {s} changed",
        "evt.type in (chmod, fchmodat) and evt.arg.mode contains S_ISUID and fs.path.name startswith /opt/{s}/",
    ),
    ("Client of {s} with a password", "spawned and proc.name = {s}-cli and proc.args contains '--password='"),
    ("Became root from {s}", "evt.type = setuid and evt.arg.uid = root and user.name = {s}"),
    ("Package tool beside {s}", "in_container and spawned and proc.pname = {s} and proc.exepath in (package_programs)"),
    ("Library of {s} written", "open_write and fd.filename startswith lib{s} and fd.name endswith .so"),
    ("Address of {s}", "outbound and fd.sip in (192.0.2.{host}, 198.51.100.{host}, 203.0.113.{host})"),
    (
        "Link into {s}",
        "evt.type in (symlink, symlinkat, link, linkat) and evt.res = SUCCESS and evt.arg.target startswith /etc/{s}/",
    ),
    ("Socket of {s} read", "open_read and fd.filename in ({s}.sock, {s}.pid) and in_container and not proc.name = {s}"),
    ("Interpreter below {s}", "spawned and proc.pname in ({s}, {s}-worker) and proc.name glob python*"),
    ("Mounted by {s}", "evt.type in (mount, umount2, pivot_root) and proc.name = {s} and not in_container"),
    ("Backup of {s} read", "open_read and fd.name glob /var/backups/{s}/*.tar.gz and not maintained"),
    ("Started from the data of {s}", "spawned and proc.exepath startswith /var/lib/{s}/"),
    ("Namespaces of {s}", "evt.type in (setns, unshare) and evt.res = SUCCESS and proc.aname = {s}"),
    ("Tool of {s} in a container", "in_container and spawned and proc.cmdline contains '{s}ctl --force'"),
)  # fmt: skip
"""Names and conditions. A set runs through them, about one service after the other."""


def rule_set(count: int) -> str:
    """``count`` rules as a rules file, without those macros and lists."""
    return MACROS + "".join(_rules(count))


def _rules(count: int) -> Iterator[str]:
    for number in range(count):
        turn, kind = divmod(number, len(KINDS))
        again, which = divmod(turn + kind, len(SERVICES))
        service = SERVICES[which] + (str(again) if again else "")
        name, condition = (
            text.format(
                s=service,
                port=2000 + number * 7 % 20000,
                port2=2001 + number * 11 % 20000,
                net=64 + number % 128,
                net16=16 + number % 16,
                host=1 + number % 250,
            )
            for text in KINDS[kind]
        )
        yield (
            f"\n- rule: {name} ({number})\n"
            f"  desc: {name}.\n"
            f"  condition: {condition}\n"
            "  output: >-\n"
            f"    {name} (file=%fd.name process=%proc.name command=%proc.cmdline parent=%proc.pname user=%user.name\n"
            "    container=%container.id)\n"
            "  priority: WARNING\n"
            f"  tags: [host, container, {service}]\n"
        )
