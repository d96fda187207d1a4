"""A real Kubernetes API server with its etcd, on loopback. `scripts/setup-control-plane` makes what a machine lacks.

No controllers and no kubelets: objects stay as tests make them, and a namespace that is deleted never ends.
"""

from __future__ import annotations

import base64
import http.client
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml

_HOST = "127.0.0.1"
_DEADLINE = 60.0  # seconds until a server that doesn't get ready is given up; nothing is ever waited out
_TAIL = 30  # lines of a server's log that an error tells


class ControlPlaneError(Exception):
    """A server didn't start; the message has the end of its log."""


@dataclass(frozen=True)
class User:
    """Who a token stands for. The server adds system:authenticated to the groups."""

    name: str
    groups: tuple[str, ...] = ()


def service_account(namespace: str, name: str) -> User:
    """What RBAC sees of a service account's pod."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


USERS: Mapping[str, User] = {
    "admin": User("admin", ("system:masters",)),
    "agent": service_account("tiercel-system", "tiercel-agent"),
    "operator": service_account("tiercel-system", "tiercel-operator"),
    "nobody": User("nobody"),
}
"""By the name that a kubeconfig is asked for with. The server reads its tokens once, so they are known beforehand."""


def find_binaries() -> Path | None:
    """The folder of kube-apiserver and etcd, looked for where scripts/setup-control-plane looks, and in that order."""
    on_path = shutil.which("kube-apiserver")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folders = [
        os.environ.get("KUBEBUILDER_ASSETS"),
        Path(on_path).parent if on_path else None,
        "/usr/local/kubebuilder/bin",
        Path(cache) / "tiercel/control-plane",
    ]
    for folder in folders:
        if folder and all(os.access(Path(folder) / name, os.X_OK) for name in ("kube-apiserver", "etcd")):
            return Path(folder).absolute()
    return None


@dataclass
class _Server:
    """One program that runs, or doesn't."""

    command: Sequence[str | Path]
    log: Path
    ready: Callable[[], bool]
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        if self.running:
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                # However the test run ends, its servers end with it.
                ["setpriv", "--pdeathsig", "KILL", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "ETCD_UNSUPPORTED_ARCH": "arm64"},  # etcd 3.4 wants it said, on arm64 alone
                start_new_session=True,  # Ctrl-C is for pytest, which stops the servers after the tests' own clean-up
            )
        deadline = time.monotonic() + _DEADLINE
        while not self.ready():
            if not self.running or time.monotonic() > deadline:
                trouble = f"isn't ready after {_DEADLINE:.0f} s" if self.running else "has ended"
                self.stop()
                end = "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL:])
                raise ControlPlaneError(f"{self.log.stem} {trouble}; its log ends with:\n{end}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class ControlPlane:
    """Runs from entering to leaving. Meanwhile the API server can be taken away and brought back: on the same port,
    with the same certificate and the same objects.

    Started from a thread that outlives it: the kernel takes the end of that thread for the end of the test run.
    """

    def __init__(self, binaries: Path, folder: Path, users: Mapping[str, User] = USERS) -> None:
        self.users = users
        self.port, etcd_port = free_ports(2)
        self._folder = folder
        self._etcd = _Server(
            _etcd_command(binaries / "etcd", folder / "etcd", etcd_port),
            folder / "etcd.log",
            lambda: _says_ok(http.client.HTTPConnection(_HOST, etcd_port, timeout=5), "/health"),
        )
        self._server = _Server(
            [binaries / "kube-apiserver", f"--etcd-servers=http://{_HOST}:{etcd_port}", *self._options()],
            folder / "kube-apiserver.log",
            self._ready,
        )

    @property
    def url(self) -> str:
        return f"https://{_HOST}:{self.port}"

    @property
    def ca_file(self) -> Path:
        """What clients verify the server with: made by the server when it first starts, and kept over restarts."""
        return self._folder / "certificates/apiserver.crt"

    @property
    def running(self) -> bool:
        return self._server.running

    def token(self, user: str) -> str:
        if user not in self.users:
            raise KeyError(f"no user {user!r} was prepared; there are {', '.join(self.users)}")
        return f"token-of-{user}"

    def kubeconfig_for(self, user: str) -> Path:
        """A kubeconfig of one of `users`, by its key. It needs no other file, and stays good over restarts."""
        ca = base64.b64encode(self.ca_file.read_bytes()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority-data": ca}}],
            "users": [{"name": user, "user": {"token": self.token(user)}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }
        path = self._folder / f"{user}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    def start(self) -> None:
        """Has the API server run, and answer. Nothing to do if it does."""
        self._server.start()

    def stop(self) -> None:
        """Takes the API server away at once, with every connection to it. etcd and the objects stay."""
        self._server.stop()

    def __enter__(self) -> ControlPlane:
        self._etcd.start()
        try:
            self._server.start()
        except BaseException:
            self._etcd.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop()
        self._etcd.stop()

    def _options(self) -> list[str]:
        """Those that Kubernetes 1.20 and the newest both know."""
        key = self._folder / "service-accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        tokens = self._folder / "tokens.csv"
        lines = (f'{self.token(uid)},{user.name},{uid},"{",".join(user.groups)}"\n' for uid, user in self.users.items())
        tokens.write_text("".join(lines))
        return [
            f"--bind-address={_HOST}",
            f"--advertise-address={_HOST}",
            "--endpoint-reconciler-type=none",  # a loopback address may not be an endpoint
            f"--secure-port={self.port}",
            f"--cert-dir={self.ca_file.parent}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={key}",
            f"--service-account-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",  # no controller makes the accounts that it wants pods to have
            "--allow-privileged=true",
        ]

    def _ready(self) -> bool:
        try:
            trust = ssl.create_default_context(cafile=self.ca_file)
        except OSError:  # the server hasn't made its certificate yet
            return False
        connection = http.client.HTTPSConnection(_HOST, self.port, timeout=5, context=trust)
        return _says_ok(connection, "/readyz")  # anyone may ask


def _etcd_command(etcd: Path, data: Path, port: int) -> list[str | Path]:
    url = f"http://{_HOST}:{port}"
    urls = [f"--listen-client-urls={url}", f"--advertise-client-urls={url}", f"--listen-peer-urls=http://{_HOST}:0"]
    quick = "--unsafe-no-fsync"  # etcd 3.4.10 and newer; the help of 3.4 keeps silent about it
    known = subprocess.run([etcd, quick, "--version"], capture_output=True, check=False).returncode == 0
    return [etcd, f"--data-dir={data}", *urls, *([quick] if known else [])]


def _says_ok(connection: http.client.HTTPConnection, path: str) -> bool:
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    return False


def free_ports(count: int) -> list[int]:
    """Ports below those that the kernel gives to clients: a client that keeps trying while the server is away could be
    given the server's own port, and be connected to itself."""
    ports: list[int] = []
    for port in random.sample(range(20_000, 30_000), 1000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((_HOST, port))
            ports.append(port)
            if len(ports) == count:
                return ports
    raise ControlPlaneError(f"no free ports on {_HOST} between 20000 and 30000")
