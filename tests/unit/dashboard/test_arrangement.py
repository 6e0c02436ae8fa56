"""The order of the overview: nothing is lost, and what needs attention is on top."""

from hypothesis import given
from hypothesis import strategies as st

from model_deployment.dashboard.arrangement import Item, arrange
from model_deployment.dashboard.attention import Need
from model_deployment.rendering.natural_order import natural

MODELS = ("b", "a10", "a2", "A2")
deployments = st.builds(
    lambda model, version, parked, need, requests: Item(
        f"{model}-{version}", model, version, parked, need, requests
    ),
    st.sampled_from(MODELS),
    st.integers(1, 12),
    st.booleans(),
    st.none() | st.sampled_from(Need),
    st.integers(0, 2000),
)
endpoints = st.builds(
    lambda model, alias, need: Item(f"{model}@{alias}", model, need=need),
    st.sampled_from(MODELS),
    st.sampled_from(("champion", "beta")),
    st.none() | st.sampled_from(Need),
)
items = st.lists(deployments | endpoints, unique_by=lambda one: one.name)


@given(items)
def test_every_item_has_one_place_and_attention_comes_first(found: list[Item]) -> None:
    order = arrange(found)
    named = {one.name: one for one in found}
    groups = [
        name for group in order.groups for name in group.endpoints + group.serving + group.parked
    ]
    assert sorted([*order.attention, *groups]) == sorted(named)
    needs = [named[name].need for name in order.attention]
    assert None not in needs
    assert needs == sorted(needs, key=lambda need: -1 if need is None else need)
    assert all(named[name].need is None for name in groups)
    for group in order.groups:
        assert all(named[name].parked for name in group.parked)
        assert not any(named[name].parked for name in group.serving)
        assert all(named[name].version is None for name in group.endpoints)
        assert {named[name].model for name in group.endpoints + group.serving + group.parked} == {
            group.model
        }
        versions = [named[name].version or 0 for name in group.serving]
        assert versions == sorted(versions, reverse=True)


@given(items, st.randoms())
def test_order_does_not_depend_on_the_order_in_which_items_come(
    found: list[Item], chance: object
) -> None:
    mixed = sorted(found, key=lambda one: hash((one.name, str(chance))))
    assert arrange(mixed) == arrange(found)


def test_busy_models_come_before_quiet_ones_and_parked_ones_last() -> None:
    found = [
        Item("asleep-1", "asleep", 1, parked=True),
        Item("quiet-1", "quiet", 1),
        Item("busier-1", "busier", 1, requests=4000),
        Item("busy-1", "busy", 1, requests=20),
        Item("also-1", "also", 1, requests=90),
    ]
    models = [group.model for group in arrange(found).groups]
    assert models == ["busier", "also", "busy", "quiet", "asleep"]


def test_numbers_in_names_are_sorted_by_value() -> None:
    assert sorted(["m10", "m2", "M1", "m"], key=natural) == ["m", "M1", "m2", "m10"]
