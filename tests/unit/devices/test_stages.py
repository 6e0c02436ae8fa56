"""Which stage of a release a device belongs to."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.releases import ReleasePolicy
from model_deployment.devices.decide import stage_name, stage_of
from tests.support.release_rows import device, rising


def test_device_belongs_to_its_first_group_of_the_policy_in_the_order_of_the_policy() -> None:
    policy = ReleasePolicy(groups=("first", "second"), percent=())
    assert stage_of(policy, 1, device(1, "second", "first")) == 0
    assert stage_of(policy, 1, device(1, "second")) == 1
    assert stage_of(policy, 1, device(1, "third")) == 2


def test_shares_have_about_as_many_devices_as_they_say() -> None:
    policy = ReleasePolicy(groups=(), percent=(10.0, 50.0))
    stages = [stage_of(policy, 7, device(id)) for id in range(5000)]
    shares = [stages.count(stage) / 5000 for stage in range(3)]
    assert shares == pytest.approx([0.1, 0.4, 0.5], abs=0.03)


def test_another_release_begins_with_other_devices() -> None:
    policy = ReleasePolicy(groups=(), percent=(10.0,))
    fleet = [device(id) for id in range(1000)]
    first, second = (
        {one.id for one in fleet if stage_of(policy, number, one) == 0} for number in (1, 2)
    )
    assert len(first & second) < 0.3 * len(first)


def test_stage_does_not_depend_on_capitals_of_the_name() -> None:
    policy = ReleasePolicy(groups=(), percent=(10.0, 30.0, 60.0))
    for id in range(200):
        one = device(id, name=f"Camera-{id}")
        assert stage_of(policy, 3, one) == stage_of(policy, 3, replace(one, name=f"camera-{id}"))


def test_stages_have_names() -> None:
    policy = ReleasePolicy(groups=("canary", "hall-3"), percent=(2.5, 50.0))
    names = [stage_name(policy, stage) for stage in range(policy.stages)]
    assert names == ["group canary", "group hall-3", "2.5 %", "50 %", "the rest"]


@given(percent=rising, number=st.integers(1, 10**6), id=st.integers(1, 10**6))
def test_device_of_a_share_is_in_each_larger_one(
    percent: list[float], number: int, id: int
) -> None:
    whole = ReleasePolicy(groups=(), percent=tuple(percent))
    stage = stage_of(whole, number, device(id))
    for place, share in enumerate(percent):
        alone = ReleasePolicy(groups=(), percent=(share,))
        assert (stage_of(alone, number, device(id)) == 0) == (stage <= place)
