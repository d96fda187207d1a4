"""Why a connection fails, in words of this side alone: without addresses, names or what the other side wrote."""

from __future__ import annotations

import socket
import ssl

from tiercel_agent.sinks.network.egress_policy import Forbidden, cause_of

# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH: their texts have the name in them.
_WRONG_NAME = frozenset({62, 64})
NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
"""What OpenSSL calls an answer that isn't TLS."""


def connection_failure(error: BaseException, no_tls: str = "it doesn't speak TLS at this address") -> str | None:
    """What the egress policy, the resolver, TLS or the system says of a connection, whatever a library has made of the
    error. None if it is something else. ``no_tls`` is what to say of another side that doesn't speak TLS."""
    if (forbidden := cause_of(error, Forbidden)) is not None:
        return str(forbidden)
    if cause_of(error, socket.gaierror) is not None:
        return "the name in its address can't be resolved"
    if (untrusted := cause_of(error, ssl.SSLCertVerificationError)) is not None:
        if untrusted.verify_code in _WRONG_NAME:
            return "the certificate isn't for the name in its address (tls.serverName tells if it is another's)"
        return f"the certificate isn't trusted: {untrusted.verify_message}"
    if (secure := cause_of(error, ssl.SSLError)) is not None:
        if secure.reason in NO_TLS:
            return no_tls
        return f"TLS fails: {(secure.reason or 'the connection ends').lower().replace('_', ' ')}"
    if cause_of(error, ConnectionRefusedError) is not None:
        return "connection refused"
    return None
