"""Syslog by RFC 5424, over UDP, TCP, TLS and local sockets."""
