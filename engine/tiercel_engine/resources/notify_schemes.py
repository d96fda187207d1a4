"""Schemes of Apprise's URLs that AlertSinks of tenants can't have: operator and agent both refuse them."""

from __future__ import annotations

LOCAL_SERVICES = frozenset("blink1 dbus gio glib gnome kde macosx qt syslog windows".split())
"""Services of the machine itself: desktops, a device, programs, the local syslog. What they reach isn't seen."""

OTHER_PROTOCOLS = frozenset(
    {
        *("amqp", "amqps", "aprs", "deltachat", "deltachats", "growl", "irc", "ircs", "mailto", "mailtos"),
        *("mqtt", "mqtts", "rsyslog", "smpp", "smpps"),
        # XMPP is spoken from a thread of its own, for as long as the agent lives.
        *("xmpp", "xmpps"),
    }
)
"""Services that aren't reached by HTTP with the library requests, so that the length of their answers isn't bounded.
For mail and syslog there are destinations of their own."""
