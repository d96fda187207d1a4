"""A real HTTP(S) server on loopback that keeps what it is sent and answers as a test has scripted, and certificates.

with HttpReceiver([Answer(503), Answer(200)]) as receiver:
    ...  # something sends to receiver.url
    request = receiver.one()
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import ssl
import struct
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PATIENCE = 30.0
"""Seconds for which tests wait at most."""


@dataclass(frozen=True)
class Answer:
    """What a request gets."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    held: bool = False
    """Nothing comes before `HttpReceiver.release` or the end."""
    reset: bool = False
    """The connection is reset after half of the body; more than it has is announced."""
    hangs_up: bool = False
    """The connection is closed after the answer, which doesn't say so, before anything else is read."""
    silent: bool = False
    """The connection is closed in place of an answer."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    """Names are in lower case."""
    body: bytes
    connection: int
    """The number of the connection, from 1."""
    peer: Mapping[str, Any]
    """The client's certificate, as `ssl.SSLSocket.getpeercert` gives it."""


class HttpReceiver:
    """``answers`` are given in order, then 200s. ``tls`` None: plain HTTP."""

    def __init__(
        self, answers: Iterable[Answer] = (), tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.answers = deque(answers)
        self.got: SimpleQueue[Request] = SimpleQueue()
        self.connections = 0
        """TCP connections that came."""
        self.hung_up = threading.Semaphore(0)
        """Has one more for each connection that the receiver has closed by itself."""
        self._tls = tls
        self._released = threading.Event()
        self._server = _Server(self, host)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def one(self) -> Request:
        """The next request, which is waited for."""
        return self.got.get(timeout=PATIENCE)

    def all(self) -> list[Request]:
        """The requests that have come and weren't asked for yet."""
        requests = []
        with contextlib.suppress(Empty):
            while True:
                requests.append(self.got.get_nowait())
        return requests

    def release(self) -> None:
        """Lets the held answers go."""
        self._released.set()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> HttpReceiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def secured(self, connection: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(connection, server_side=True) if self._tls else connection

    def answer(self) -> Answer:
        answer = self.answers.popleft() if self.answers else Answer()
        if answer.held:
            self._released.wait(PATIENCE)
        return answer


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, receiver: HttpReceiver, host: str) -> None:
        self.receiver = receiver
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.receiver.connections += 1
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        # A handshake that fails, or a client that goes away, is what some tests want.
        with contextlib.suppress(OSError):
            _Handler(self.receiver.secured(request), client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    number = 0

    def setup(self) -> None:
        super().setup()
        self.number = self.server.receiver.connections

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        receiver = self.server.receiver
        body = self._body()
        peer = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver.got.put(Request(self.command, self.path, headers, body, self.number, peer or {}))
        answer = receiver.answer()
        if answer.silent:
            self.close_connection = True
            return
        self._answer(answer)
        if answer.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        if answer.hangs_up:
            self.connection.shutdown(socket.SHUT_RDWR)
            receiver.hung_up.release()
        self.close_connection = self.close_connection or answer.reset or answer.hangs_up

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body) + (100 if answer.reset else 0)))
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def refusing(host: str = "127.0.0.1") -> Iterator[int]:
    """A TCP port at which connections are refused, for as long as it is needed."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as held:
        held.bind((host, 0))
        yield held.getsockname()[1]


@dataclass(frozen=True)
class Certificate:
    """PEM texts."""

    certificate: str
    key: str

    def server(self, *, clients: str = "") -> ssl.SSLContext:
        """A server with this certificate; ``clients`` is the authority of clients, which must have one then."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with _held(self.certificate + self.key) as path:
            context.load_cert_chain(path)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=clients)
        return context


class Authority:
    """An authority that signs certificates; ``pem`` is its own, ``key_pem`` its key."""

    def __init__(self, name: str = "Test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = _builder(self._name, self._name, self._key.public_key(), timedelta(days=1))
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        signed = (
            builder.add_extension(constraints, critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = _pem(signed)
        self.key_pem = _key_pem(self._key)

    def issue(self, *names: str, expired: bool = False) -> Certificate:
        """A certificate for host names and addresses, or for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        lasts = timedelta(days=-1) if expired else timedelta(days=1)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        signed = (
            _builder(subject, self._name, key.public_key(), lasts)
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Certificate(_pem(signed), _key_pem(key))


def self_signed(*names: str) -> Certificate:
    """A certificate that no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    signed = (
        _builder(subject, subject, key.public_key(), timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Certificate(_pem(signed), _key_pem(key))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lasts: timedelta) -> Any:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + lasts)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain).decode()


@contextlib.contextmanager
def _held(text: str) -> Iterator[str]:
    """The text as a file that no disk has: ssl reads files alone."""
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
