"""What is known of an environment, and who is told what of it."""

from pathlib import Path

from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager
from model_deployment.environments.environment import (
    BuildFailed,
    Building,
    Environment,
    Failed,
    Ready,
)
from model_deployment.runtime.environment_record import (
    Awaited,
    EnvironmentRecord,
    Unusable,
    Usable,
    debt,
    failed,
    is_kept,
    observed,
    origin,
    paid,
    swept,
    taken,
)

ONE, OTHER = (Path("one"), EnvManager.UV), (Path("other"), EnvManager.UV)
KEY = ModelKey("m", 1)
BUILT = Environment("d", Path("d"), "3.11.7", "2.22.0")
ERROR = BuildFailed("a needs b<2", permanent=True)
NEW = EnvironmentRecord()


def test_time_of_a_build_counts_from_the_first_model_that_waits() -> None:
    record = observed(NEW, Building("resolving"), None, 10.0)
    assert record.phase == Awaited(Building("resolving"))
    record = observed(record, Building("installing"), ONE, 20.0)
    record = observed(record, Building("installing"), OTHER, 25.0)
    assert record.phase == Awaited(Building("installing"), frozenset({ONE, OTHER}), 20.0)
    record = observed(record, Ready(BUILT), OTHER, 26.5)
    assert record.phase == Usable(BUILT, 6.5)
    # Until a launch is told of it, and no longer.
    assert observed(record, Ready(BUILT), ONE, 30.0).phase == Usable(BUILT, 6.5)
    assert origin(record, KEY, used_before=False) == "was built in 6.5 s"
    assert origin(record, KEY, used_before=True) == "was rebuilt, since it was gone, in 6.5 s"
    after = taken(record, BUILT, KEY)
    assert origin(after, KEY, used_before=True) == ""
    assert "was there already" in origin(after, ModelKey("m", 2), used_before=True)


def test_build_for_which_nothing_waited_is_not_timed() -> None:
    record = observed(observed(NEW, Building(), None, 10.0), Ready(BUILT), ONE, 9999.0)
    assert record.phase == Usable(BUILT)


def test_those_that_waited_fail_once_with_the_build_and_not_later() -> None:
    record = observed(observed(NEW, Building(), ONE, 1.0), Building(), OTHER, 1.0)
    record = observed(record, Failed(ERROR), ONE, 2.0)
    assert record.phase == Unusable(ERROR, frozenset({ONE, OTHER}))
    record = failed(record, ERROR, ONE, 2.0)
    assert record.phase == Unusable(ERROR)
    assert debt(record, ONE, 2.0) is None
    assert debt(record, OTHER, 2.0) is ERROR
    # Another build of it may have begun meanwhile.
    assert debt(observed(record, Building(), ONE, 3.0), OTHER, 3.0) is ERROR
    # But once it is there, it can be used.
    assert debt(taken(record, BUILT, KEY), OTHER, 3.0) is None
    assert debt(record, OTHER, 60.0) is None
    assert paid(record, OTHER, 3.0).owed == {}
    assert paid(record, ONE, 60.0).owed == {}


def test_what_is_seen_for_the_first_time_is_kept_for_the_grace() -> None:
    record = swept(NEW, needed=False, now=100.0)
    assert is_kept(record, 60.0, 159.0)
    assert not is_kept(swept(record, needed=False, now=161.0), 60.0, 161.0)
    assert is_kept(swept(record, needed=True, now=161.0), 60.0, 200.0)
