"""Which SecurityRules find room in the bundle."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tiercel_engine.rule import Origin
from tiercel_operator.bundle_config_maps import MOST_PARTS
from tiercel_operator.cluster.budgets import SYSTEM, TENANT, TOTAL, Size, Sized, fits, over_budget, total_of

SYSTEM_NAMESPACE = "tiercel-system"
KIB = 1 << 10


def sized(namespace: str, name: str, unpacked: int = 1, packed: int = 1, created: int = 0) -> Sized:
    return Sized(Origin(namespace, name), f"{created:04}", False, Size(1, unpacked, packed, unpacked))


OBJECTS = st.lists(
    st.builds(
        Sized,
        st.builds(Origin, st.sampled_from(["a", "b", "c", SYSTEM_NAMESPACE]), st.text("abc", min_size=1, max_size=3)),
        st.sampled_from("12345"),
        st.booleans(),
        st.builds(Size, st.just(1), st.integers(0, 20 << 20), st.integers(0, 4 << 20), st.integers(0, 20 << 20)),
    ),
    unique_by=lambda each: each.origin,
    max_size=40,
)
LARGE = TOTAL._replace(objects=TENANT.objects)
"""An administrator's: three namespaces of that budget don't fit together."""


@given(OBJECTS, st.sampled_from([TENANT, LARGE]), st.randoms())
def test_whatever_there_is_fits_and_stays_within_each_budget(objects: list, tenant: Size, random) -> None:
    beyond = over_budget(objects, tenant)
    kept = [each for each in objects if each.origin not in beyond]
    assert fits(total_of(each.size for each in kept), TOTAL)
    for namespace in ("a", "b", "c"):
        assert fits(total_of(each.size for each in kept if each.origin.namespace == namespace), tenant)
    shuffled = random.sample(objects, len(objects))
    assert over_budget(shuffled, tenant) == beyond


@given(OBJECTS)
def test_tenants_take_nothing_from_the_system(objects: list) -> None:
    of_system = [each for each in objects if each.origin.namespace == SYSTEM_NAMESPACE]
    beyond = {origin for origin in over_budget(objects, LARGE) if origin.namespace == SYSTEM_NAMESPACE}
    assert beyond == over_budget(of_system).keys()
    if fits(total_of(each.size for each in of_system), SYSTEM):
        assert beyond == set()


@given(OBJECTS, st.integers(1, 900 * KIB))
def test_what_is_created_later_takes_nothing_of_its_namespace_out_of_force(objects: list, size: int) -> None:
    before = over_budget(objects)
    later = Sized(Origin("a", "zzzz"), "9", True, Size(1, size, size, size))
    after = over_budget([*objects, later])
    assert {origin for origin in after if origin.namespace == "a"} - {later.origin} == {
        origin for origin in before if origin.namespace == "a"
    }


def test_a_namespaces_excess_is_its_own() -> None:
    greedy = [sized("greedy", f"r{number}", unpacked=100 * KIB, created=number) for number in range(30)]
    others = [sized(f"n{number}", "r", unpacked=200 * KIB) for number in range(40)]
    assert over_budget([*greedy, *others]).keys() == {Origin("greedy", f"r{number}") for number in range(10, 30)}


def test_where_all_have_much_the_room_is_shared_out_and_small_ones_keep_theirs() -> None:
    """A hundred namespaces at their budget don't fit."""
    greedy = [
        sized(f"greedy-{at}", f"r{number}", unpacked=64 * KIB, created=number)
        for at in range(100)
        for number in range(16)
    ]
    small = [sized(f"small-{at}", "r", unpacked=64 * KIB) for at in range(100)]
    beyond = over_budget([*greedy, *small])
    assert not any(origin.namespace.startswith("small") for origin in beyond)
    kept = [each for each in greedy if each.origin not in beyond]
    # 32 MiB, of which the small ones have 6.25: a hundredth of the rest is 263 KiB
    assert len(kept) == 100 * 4
    assert {each.origin.name for each in kept} == {"r0", "r1", "r2", "r3"}


def test_the_total_is_what_the_config_maps_hold() -> None:
    assert TOTAL.packed < MOST_PARTS * 700_000
    assert 2 * SYSTEM.packed <= TOTAL.packed
