"""That the few rules that are looked at when an object changes are enough."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from operator_support.rule_objects import BAD, GOOD, SYSTEM, macro, of, rule

from tiercel_engine.rule import Origin
from tiercel_engine.rules.objects import RuleObject, resolve
from tiercel_operator.rules.dependents import dependents

NAMES = st.sampled_from(["a", "b", "c", "d"])
CONDITIONS = st.builds(
    "{} and {}".format, st.sampled_from([GOOD, BAD, "a", "b", "not (c)"]), st.sampled_from(["d", "proc.name in (a, b)"])
)
ITEMS = st.one_of(
    st.builds(rule, NAMES, CONDITIONS),
    st.builds(macro, NAMES, CONDITIONS),
    st.builds(lambda name, other: {"list": name, "items": [other, "x"]}, NAMES, NAMES),
    st.builds(lambda name, more: rule(name, more, source="k8s_audit"), NAMES, CONDITIONS),
    st.builds(lambda name, more: {"rule": name, "condition": more, "append": True}, NAMES, CONDITIONS),
)
SOME = st.lists(
    st.builds(
        lambda namespace, name, items: of(namespace, name, *items),
        st.sampled_from(["shop", "bank", SYSTEM]),
        st.sampled_from(["0", "1", "2", "3"]),
        st.lists(ITEMS, max_size=4),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda each: each.origin,
)


@given(SOME, st.none() | st.lists(ITEMS, max_size=2), st.integers(0, 4), st.booleans(), st.booleans())
def test_the_related_rules_are_enough(
    objects: list[RuleObject], before: list[Any] | None, kept: int, now: bool, then: bool
) -> None:
    """The rules of an object are wrong as they are among all, and the same of others' items become wrong by it."""
    new, *others = objects
    items = new.spec["rules"]
    new = RuleObject(new.namespace, new.name, {"rules": items, "suspend": now})
    was = None if before is None else of(new.namespace, new.name, *items[:kept], *before, *items[kept:], suspend=then)
    few = dependents(new, was, others)

    def wrong(all_of: list[RuleObject], changed: RuleObject | None, origin: Origin) -> set[tuple[str, str]]:
        resolved = resolve([*all_of, changed] if changed else all_of).objects
        errors = resolved[origin].errors if origin in resolved else ()
        return {(error.item_type, error.item_name) for error in errors}

    whole, part = wrong(others, new, new.origin), wrong(few, new, new.origin)
    assert part == whole
    after = None if now else new
    earlier = None if then else was
    for other in others:
        caused = wrong(others, after, other.origin) - wrong(others, earlier, other.origin)
        assert wrong(few, after, other.origin) - wrong(few, earlier, other.origin) == caused


def test_of_a_thousand_others_few_are_looked_at() -> None:
    others = [of(SYSTEM, f"o{at}", rule(f"r{at}", f"mine and proc.name = x{at}")) for at in range(1000)]
    terms = of(SYSTEM, "terms", macro("mine", GOOD), macro("yours", "mine"), rule("uses", "yours"))
    assert [each.name for each in dependents(of(SYSTEM, "new", rule("r7", "mine")), None, [terms, *others])] == [
        "terms",
        "o7",
    ]
    assert len(dependents(terms, None, others)) == 1000
    assert dependents(of(SYSTEM, "terms", *terms.spec["rules"], rule("more", GOOD)), terms, others) == []
