"""The ways in which libraries connect and send, and in which files are opened and programs started."""

from __future__ import annotations

import http.client
import os
import smtplib
import socket
import ssl
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
import urllib3


def by_urllib3(host: str, port: int) -> None:
    urllib3.PoolManager().request("POST", f"http://{host}:{port}/", body=b"x", retries=False)


def by_urllib3_with_retries(host: str, port: int) -> None:
    urllib3.PoolManager().request("POST", f"http://{host}:{port}/", body=b"x", retries=urllib3.Retry(1))


def by_requests(host: str, port: int) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.post(f"http://{host}:{port}/", data=b"x", timeout=30)


def by_urllib(host: str, port: int) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(f"http://{host}:{port}/", data=b"x", timeout=30)


def by_http_client(host: str, port: int) -> None:
    http.client.HTTPConnection(host.strip("[]"), port, timeout=30).request("GET", "/")


def by_smtplib(host: str, port: int) -> None:
    smtplib.SMTP(host.strip("[]"), port, timeout=0.5)


def by_ssl(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ssl.create_default_context().wrap_socket(socket.socket(family), server_hostname="x") as wrapped:
        wrapped.connect((host.strip("[]"), port))


def in_another_thread(host: str, port: int) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(by_urllib3, host, port).result()


def by_a_proxy_of_the_environment(proxy: str, url: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ[name] = proxy
    requests.post(url, data=b"x", timeout=30)


def by_sendto(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"x", (host, port))


def by_sendmsg(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendmsg([b"x"], [], 0, (host, port))


def by_connected_datagram(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect((host, port))
        out.sendmsg([b"x"])


def by_connect_ex(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect_ex((host, port))


def to_a_unix_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.connect(path)


def to_a_unix_socket_unconnected(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(b"x", path)


def by_subprocess() -> None:
    subprocess.run([sys.executable, "-c", ""], check=False)


def by_system() -> None:
    os.system("true")


def by_posix_spawn() -> None:
    os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {})


def read(path: str) -> str:
    return Path(path).read_text()


def write(path: str) -> None:
    Path(path).write_text("x")
