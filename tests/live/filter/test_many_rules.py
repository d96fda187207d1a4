"""Many rules, and very wide rules: they load and match, and calls that no rule matches stay in the kernel."""

from __future__ import annotations

import pytest
from live_support.filter_rules import alerted_rules, rules_of

from tiercel_agent.detection.detector import open_detector
from tiercel_agent.kernel.errors import DetectorError
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.matching.requirements import Requirements

KINDS = (
    "fd.name startswith /srv/app{n}/",
    "fd.name in (/etc/app{n}/a, /etc/app{n}/b, /opt/app{n}.conf)",
    "fd.filename = app{n}.key and evt.is_open_write = true",
    "fd.name glob /home/*/app{n}/*.pem",
    "fd.name startswith /var/app{n} and not proc.name in (app{n}, helper{n})",
    "container.id != host and fd.directory = /data/app{n}",
    "(fd.name startswith /x{n} or proc.name = p{n}) and user.uid != {n}",
    "fd.name endswith /last{n}",
)


@pytest.fixture
def watching():
    opened = []

    def start(conditions):
        rules = rules_of(conditions)
        try:
            opened.append(open_detector(Requirements.of(rules), rules))
        except DetectorError as error:
            pytest.skip(f"live tests need eBPF: {error}")
        return opened[-1], Matcher(rules)

    yield start
    for detector in opened:
        detector.close()


def test_a_thousand_rules(watching):
    conditions = {f"r{n}": KINDS[n % len(KINDS)].format(n=n) for n in range(1000)}
    detector, matcher = watching({**conditions, "end": "fd.name = /tiercel-end"})
    wanted = ["/srv/app8/x", "/etc/app993/b", "/home/me/app995/x.pem", "/var/app996", "/tmp/last999"]
    alerted, _ = alerted_rules(detector, matcher, *wanted)
    assert alerted == ["r8", "r993", "r995", "r996", "r999"]
    ordinary = [f"/srv/data/{n}" for n in range(500)]
    # rules that don't test names stay candidates until the process is known, which it soon is
    alerted, _ = alerted_rules(detector, matcher, *ordinary)
    assert not alerted
    assert not detector.counters().lost


def test_names_that_no_rule_asks_for_are_stopped_at_once_however_many_there_are(watching):
    conditions = {f"r{n}": KINDS[n % 6].format(n=n) for n in range(600)}
    detector, matcher = watching({**conditions, "end": "fd.name = /tiercel-end"})
    assert alerted_rules(detector, matcher, *(f"/tmp/no/{n}" for n in range(500))) == ([], 0)


def test_the_widest_rules_one_can_write(watching):
    words = ", ".join(f"/list/{n}" for n in range(5000))
    pairs = " or ".join(f"(fd.name = /pair/{n} and proc.name != p{n})" for n in range(400))
    contains = " or ".join(f"fd.name contains word{n}x" for n in range(150))
    nots = " and ".join(f"not (fd.name startswith /no/{n}/ and proc.name = q{n})" for n in range(200))
    detector, matcher = watching(
        {
            "list": f"fd.name in ({words})",
            "pairs": f"({pairs})",
            "contains": f"({contains})",
            "nots": f"fd.name startswith /no/ and {nots}",
            "end": "fd.name = /tiercel-end",
        }
    )
    alerted, _ = alerted_rules(detector, matcher, "/list/4999", "/pair/399", "/a/word149x", "/no/7/x", "/tmp/none")
    assert alerted == ["list", "pairs", "contains", "nots"]
