"""Rules of many SecurityRules: who sees what, and who can spoil what."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiercel_engine.event import Event
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.rule import Origin
from tiercel_engine.rules.bundle import Bundle, BundleError, pack, packed_size, unpack
from tiercel_engine.rules.carried import carried
from tiercel_engine.rules.compiler import RuleCompiler
from tiercel_engine.rules.objects import Resolved, Resolver, RuleObject, one_line, refusal, resolve

SYSTEM = "tiercel-system"


def rule(name: str, condition: str, **more: Any) -> dict[str, Any]:
    return {"rule": name, "desc": "d", "condition": condition, "output": "o", "priority": "NOTICE", **more}


def macro(name: str, condition: str) -> dict[str, Any]:
    return {"macro": name, "condition": condition}


def listed(name: str, *items: Any) -> dict[str, Any]:
    return {"list": name, "items": list(items)}


def of(namespace: str, name: str, *items: dict[str, Any], **spec: Any) -> RuleObject:
    return RuleObject(namespace, name, {"rules": list(items), **spec})


def names(resolved: Resolved, namespace: str, name: str) -> list[str]:
    return [rule.name for rule in resolved.objects[Origin(namespace, name)].rules]


def errors(resolved: Resolved, namespace: str, name: str) -> list[str]:
    return [one_line(error) for error in resolved.objects[Origin(namespace, name)].errors]


def matching(resolved: Resolved, **fields: Any) -> set[str]:
    event = Event("syscall", 0, {key.replace("_", "."): value for key, value in fields.items()})
    return {rule.key for rule, _ in Matcher(resolved.rules).match(event)}


TERMS = of(SYSTEM, "terms", listed("shells", "bash", "sh"), macro("opened", "evt.type in (open, openat)"))


def test_the_systems_macros_are_seen_everywhere_and_a_tenants_at_home() -> None:
    resolved = resolve(
        [
            TERMS,
            of("shop", "a", macro("mine", "opened and proc.name in (shells)"), rule("r", "mine")),
            of("bank", "a", rule("r", "mine")),
            of(SYSTEM, "user", rule("r", "mine")),
        ]
    )
    assert names(resolved, "shop", "a") == ["r"]
    assert errors(resolved, "shop", "a") == []
    for namespace, name in (("bank", "a"), (SYSTEM, "user")):
        assert names(resolved, namespace, name) == []
        assert errors(resolved, namespace, name) == ["rule r: there is no macro mine"]


def test_a_tenants_rule_is_in_its_namespace_and_has_a_name_of_its_own() -> None:
    resolved = resolve([of("shop", "a", rule("r", "evt.type = open")), of("bank", "b", rule("r", "evt.type = open"))])
    here = {"evt_type": "open", "container_id": "3ad7b26ded6d", "k8s_pod_name": "p"}
    assert matching(resolved, **here, k8s_ns_name="shop") == {"shop/r"}
    assert matching(resolved, **here, k8s_ns_name="bank") == {"bank/r"}
    assert {each.origin for each in resolved.rules} == {Origin("shop", "a"), Origin("bank", "b")}


def test_a_tenants_own_term_stands_in_for_the_systems_and_changes_nobody_elses() -> None:
    resolved = resolve(
        [
            TERMS,
            of(SYSTEM, "user", rule("system", "opened and proc.name in (shells)")),
            of("shop", "a", listed("shells", "zsh"), rule("own", "opened and proc.name in (shells)")),
            of(
                "bank",
                "a",
                {"list": "shells", "items": ["fish"], "override": {"items": "append"}},
                rule("more", "opened and proc.name in (shells)"),
            ),
        ]
    )
    pods = {"evt_type": "open", "container_id": "x", "k8s_pod_name": "p"}
    assert matching(resolved, **pods, proc_name="bash", k8s_ns_name="shop") == {f"{SYSTEM}/system"}
    assert matching(resolved, **pods, proc_name="zsh", k8s_ns_name="shop") == {"shop/own"}
    assert matching(resolved, **pods, proc_name="fish", k8s_ns_name="bank") == {"bank/more"}
    assert matching(resolved, **pods, proc_name="bash", k8s_ns_name="bank") == {"bank/more", f"{SYSTEM}/system"}


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("rule", rule("x", "evt.type = open"), rule("x", "evt.type = connect")),
        ("macro", macro("x", "evt.type = open"), macro("x", "evt.type = connect")),
        ("list", listed("x", "a"), listed("x", "b")),
    ],
)
def test_names_that_collide_are_told_and_the_first_stays(
    kind: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    good = rule("good", "evt.type = open")
    resolved = resolve([of("shop", "a", first), of("shop", "b", second, good), of("bank", "c", second)])
    assert errors(resolved, "shop", "a") == errors(resolved, "bank", "c") == []
    assert errors(resolved, "shop", "b") == [
        f"{kind} x: SecurityRule shop/a has a {kind} of this name already (give it another name)"
    ]
    assert "good" in names(resolved, "shop", "b")


@pytest.mark.parametrize("namespace", ["shop", SYSTEM])
def test_a_rule_that_anothers_macro_spoils_is_told_with_its_own_object(namespace: str) -> None:
    """Of another namespace's only the name is told."""
    broken = of(namespace, "terms", macro("bad", "proc.nmae = x"), macro("good", "evt.type = open"))
    resolved = resolve([broken, of("shop", "a", rule("uses", "bad"), rule("fine", "good"))])
    assert names(resolved, "shop", "a") == ["fine"]
    (error,) = errors(resolved, "shop", "a")
    start, _, told = error.partition(" has an error: ")
    assert start == "rule uses: a macro or list that the rule uses"
    if namespace == SYSTEM:
        assert told == "macro bad of tiercel-system"
    else:
        assert told.startswith("macro bad: there is no field")
        assert told.endswith("(did you mean proc.name?), in shop/terms")


@pytest.mark.parametrize(
    ("condition", "named"),
    [
        ("evt.type in (open, read) and fd.name = /a", "read"),
        ("evt.type = futex", "futex"),
        ("hidden and proc.name = x", "such calls"),
        ("evt.type startswith pread", "pread"),
    ],
)
def test_only_the_systems_rules_may_ask_for_calls_that_cost_everybody(condition: str, named: str) -> None:
    """Every read of every process of the node would be looked at."""
    hidden = macro("hidden", "evt.type in (write, open)")
    resolved = resolve(
        [
            of(SYSTEM, "one", hidden, rule("R", condition)),
            of("shop", "one", rule("R", condition), rule("Other", "evt.type = open")),
        ]
    )
    assert names(resolved, SYSTEM, "one") == ["R"]
    assert names(resolved, "shop", "one") == ["Other"]
    (error,) = errors(resolved, "shop", "one")
    assert f"only rules of tiercel-system can ask for {named}:" in error


def test_a_refusal_shows_the_place() -> None:
    resolved = resolve([of("shop", "a", rule("r", "evt.type = open and proc.nmae = x"))])
    text = refusal(resolved.objects[Origin("shop", "a")].errors)
    message, line, mark = text.split("\n")
    assert message == "rule r: there is no field proc.nmae (did you mean proc.name?)"
    start = mark.index("^")
    assert line[start : start + len(mark.strip())] == "proc.nmae"


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"rules": None},
        {"rules": "x"},
        {"rules": [3, None, [], {}]},
        {"rules": [{"rule": {"a": 1}}]},
        {"rules": [rule("r", "evt.type = open")], "selector": 3},
        {"rules": [rule("r", "evt.type = open", exceptions=[{"name": 3, "values": [[[]]]}])]},
        {"rules": [rule("\x1b[31m\u202e\x00", "evt.type = open")]},
    ],
)
def test_whatever_a_spec_says_the_others_are_in_force(spec: dict[str, Any]) -> None:
    good = [of("shop", "a", rule("good", "evt.type = open")), of(SYSTEM, "a", rule("good", "evt.type = open"))]
    for namespace in ("shop", SYSTEM):
        resolved = resolve([*good, RuleObject(namespace, "b", spec)])
        assert names(resolved, "shop", "a") == names(resolved, SYSTEM, "a") == ["good"]


def test_nesting_without_end_is_an_error_like_others() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    resolved = resolve([of("shop", "a", rule("r", "evt.type = open", exceptions=deep)), TERMS])
    (error,) = errors(resolved, "shop", "a")
    assert error == "spec.rules[0].exceptions[0][0][0][0]… is nested deeper than 64 levels"


@pytest.mark.parametrize("kind", [RecursionError, MemoryError, KeyError])
@pytest.mark.parametrize("namespace", ["shop", SYSTEM])
def test_what_nobody_foresaw_is_an_error_of_the_object_that_it_came_of(
    namespace: str, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_rule = RuleCompiler._rule

    def fail(self: RuleCompiler, item: Any) -> Any:
        if item.name.startswith("poison"):
            raise kind("a shape that nobody foresaw")
        return compile_rule(self, item)

    monkeypatch.setattr(RuleCompiler, "_rule", fail)
    good = [of(namespace, f"o{at}", rule(f"r{at}", "evt.type = open")) for at in range(9)]
    bad = [of(namespace, f"o{at}-bad", rule(f"poison {at}", "evt.type = open")) for at in (0, 5, 8)]
    resolved = resolve([*good, *bad, of("bank", "a", rule("r", "opened")), TERMS])
    assert {rule.name for rule in resolved.rules} == {*(f"r{at}" for at in range(9)), "r"}
    assert {each.origin for each in bad} == {origin for origin, each in resolved.objects.items() if each.failed}
    for each in bad:
        (error,) = errors(resolved, namespace, each.name)
        assert "the object can't be handled" in error
        assert kind.__name__ in error


def test_very_many_of_which_it_comes_cost_their_namespace_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_rule, compiled = RuleCompiler._rule, 0

    def fail(self: RuleCompiler, item: Any) -> Any:
        nonlocal compiled
        compiled += 1
        if item.name == "poison":
            raise KeyError("a shape that nobody foresaw")
        return compile_rule(self, item)

    monkeypatch.setattr(RuleCompiler, "_rule", fail)
    bad = [of("shop", f"o{at}", rule("poison", "evt.type = open")) for at in range(100)]
    resolved = resolve([*bad, of("bank", "a", rule("r", "opened")), TERMS])
    assert [rule.name for rule in resolved.rules] == ["r"]
    assert all(resolved.objects[each.origin].errors for each in bad)
    assert compiled < 100


FRAME = 100
"""Bytes of a bundle besides its objects."""
OBJECTS = st.lists(
    st.builds(
        RuleObject,
        st.sampled_from(["shop", "bank", SYSTEM]),
        st.text("abc", min_size=1, max_size=3),
        st.dictionaries(
            st.sampled_from(["rules", "selector", "tests", "suspend"]),
            st.recursive(st.none() | st.booleans() | st.text(), st.lists, max_leaves=4),
        ),
    ),
    unique_by=lambda resolved: (resolved.namespace, resolved.name),
)


@given(OBJECTS, st.integers(20, 1000))
def test_a_bundle_is_the_same_for_the_same_rules_and_comes_back_whole(objects: list[RuleObject], most: int) -> None:
    bundle = pack(objects, most)
    assert bundle == pack(list(reversed(objects)), most)
    assert all(len(part) <= most for part in bundle.parts)
    in_force = sorted(
        (each for each in objects if not each.spec.get("suspend")), key=lambda each: (each.namespace, each.name)
    )
    assert unpack(bundle) == tuple(map(carried, in_force))
    sizes = [packed_size(each) for each in in_force]
    apart = pack(objects, most, room=0)
    assert (apart.hash, unpack(apart)) == (bundle.hash, unpack(bundle))
    assert sum(map(len, apart.parts)) <= sum(packed for _, packed in sizes) + FRAME


def test_what_one_object_costs_depends_on_no_other() -> None:
    """So a namespace can be told what its own objects cost."""
    noise = random.Random(1).randbytes(50_000).hex()
    large, small = of("shop", "a", rule("r", "evt.type = open", output=noise)), of("shop", "b", TERMS.spec["rules"][0])
    twin = of("shop", "c", rule("r", "evt.type = open", output=noise))
    objects = (large, small, twin)
    size = sum(map(len, pack(objects, room=100_000).parts))
    assert size == pytest.approx(sum(packed_size(each)[1] for each in objects), abs=FRAME)
    unpacked, packed = packed_size(large)
    assert 100_000 < unpacked < 100_500
    assert 50_000 < packed < 65_000


def test_what_no_agent_uses_costs_nothing() -> None:
    """Descriptions, tests, and keys of items of another kind."""
    noise = random.Random(1).randbytes(500_000).hex()
    lean = of(SYSTEM, "a", rule("r", "opened"), macro("opened", "evt.type = open"), {"list": "l", "items": ["a"]})
    fat = of(
        SYSTEM,
        "a",
        rule("r", "opened", desc=noise, items=[noise]),
        macro("opened", "evt.type = open") | {"desc": noise, "output": noise},
        {"list": "l", "items": ["a"], "condition": noise},
        tests=[{"name": noise, "event": {"evt.type": noise}, "expect": []}],
    )
    assert packed_size(fat) == packed_size(lean)
    assert pack([fat]) == pack([lean])


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "rule": st.just("r"),
                "macro": st.just("m"),
                "list": st.just("l"),
                "required_engine_version": st.sampled_from([1, 999]),
                "desc": st.sampled_from(["", "d", 3, None, ["d"]]),
                "condition": st.sampled_from(["evt.type = open", "nonsense"]),
                "output": st.just("o"),
                "priority": st.just("INFO"),
                "items": st.just(["a"]),
                "append": st.booleans(),
                "override": st.sampled_from([{"desc": "append"}, {"desc": "replace", "condition": "append"}]),
                "enabled": st.booleans(),
                "else": st.just(1),
            },
        ),
        max_size=4,
    )
)
def test_without_what_no_agent_uses_it_resolves_to_the_same(items: list[dict[str, Any]]) -> None:
    whole = of("shop", "a", rule("r", "evt.type = open"), *items)
    one, other = (resolve([each, TERMS]).objects[whole.origin] for each in (whole, carried(whole)))
    assert [(each.name, each.condition, each.enabled) for each in one.rules] == [
        (each.name, each.condition, each.enabled) for each in other.rules
    ]
    assert sorted(each.message for each in one.errors) == sorted(each.message for each in other.errors)


def test_a_bundle_that_is_not_whole_is_refused() -> None:
    one, other = pack([TERMS], 50), pack([of("shop", "a", rule("r", "evt.type = open"))], 50)
    for parts in (one.parts[:-1], one.parts[1:], (), (b"nonsense",), (*one.parts[:-1], other.parts[-1]), other.parts):
        with pytest.raises(BundleError):
            unpack(Bundle(one.hash, parts))


def test_what_has_not_changed_is_not_resolved_again() -> None:
    """Objects are new ones each time: they are read from the same bundle."""

    def objects(shop: str = "open", shared: str = "x") -> list[RuleObject]:
        return [
            of("shop", "one", rule("shop", f"evt.type = {shop} and proc.name in (names)")),
            of("bank", "one", rule("bank", "evt.type = open and proc.name in (names)")),
            of(SYSTEM, "lists", listed("names", shared)),
        ]

    resolver = Resolver()
    first, same, other, shared = (
        {each.name: each for each in resolver.resolve(given).rules}
        for given in (objects(), objects(), objects("openat"), objects("openat", "y"))
    )
    assert same["shop"] is first["shop"]
    assert (other["bank"] is first["bank"], other["shop"] is first["shop"]) == (True, False)
    assert (shared["bank"] is first["bank"], shared["shop"] is other["shop"]) == (False, False)
    assert set(resolver.resolve(objects()[:1]).rules) == set(resolve(objects()[:1]).rules)
