"""Names, versions and keys: what may be deployed, and how a refusal reads."""

import re
from dataclasses import replace
from datetime import timedelta
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.domain import Address, LaunchRole, LaunchState, State
from model_deployment.core.errors import InvalidName, NotDeployed
from model_deployment.core.names import NAME, RESERVED_NAMES, ModelKey
from model_deployment.core.options import EnvManager, Options
from model_deployment.core.port_usage import BlockedPort, PortUsage
from model_deployment.core.routes import Route, Target
from model_deployment.http.paths import is_canonical
from tests.support.cases import each
from tests.support.rows import AT, AT_REST, launch, row

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"

names = st.from_regex(NAME, fullmatch=True).filter(lambda name: name.lower() not in RESERVED_NAMES)
versions = st.integers(1, 999_999_999)
keys = st.builds(ModelKey, names, versions)
#: Names whose own end looks like a version.
ambiguous = st.builds(
    "-".join,
    st.lists(st.from_regex(r"[a-z0-9]{1,4}", fullmatch=True), min_size=2, max_size=8),
)


@pytest.mark.parametrize(
    "name",
    ["diabetes", "a", "7", "a-1", "A.b_c d", "iris-2-", "a--", "a..", "Undeployed", "x" * 128],
)
def test_accepts_plain_names(name: str) -> None:
    key = ModelKey.of(name, "1")
    assert key == ModelKey(name, 1)
    assert ModelKey.parse(f"{name}-1") == key


@each(
    "name",
    [
        "",
        " ",
        " diabetes",
        "-rf",
        "--host=0.0.0.0",
        ".",
        "..",
        ".hidden",
        "../../etc/passwd",
        "_private",
        "$(id)",
        "`id`",
        "a;b",
        "a|b",
        "=cmd()",
        "a%2fb",
        "a%2db",
        "%2e%2e",
        "a/b",
        "a\\b",
        "a?b#c",
        "a#b",
        "a:b",
        "a@b",
        "a,b",
        "a'b",
        'a"b',
        "a<b>",
        "a\nb",
        "a\n",
        "a\r",
        "a\tb",
        "a\0b",
        "a\x1b[2Jb",
        "a\x7fb",
        COMPOSED,
        DECOMPOSED,
        "\uff41",  # full-width a
        "\u0430",  # Cyrillic a
        "a\u202eb",  # right-to-left override
        "a\u00a0b",  # no-break space
        "\ud800",  # half a character
        "x" * 129,
        "x" * 5000,
    ],
)
def test_refuses_hostile_names(name: str) -> None:
    with pytest.raises(InvalidName, match=r"1 to 128 characters"):
        ModelKey.of(name, "1")


@pytest.mark.parametrize(
    "name",
    [
        "undeploy", "deploy", "Deploy", "UNDEPLOY", "api", "Health", "get_model_list", "favicon.ico",
        "endpoints", "projects", "devices", "v1", "V2", "ws", "set_model", "model_info", "upload_data",
        "datasets", "flows", "predict_timeseries", "webhooks", "blobs", "MLflow",
    ],
)  # fmt: skip
def test_refuses_reserved_names_in_any_case(name: str) -> None:
    with pytest.raises(InvalidName, match=f"'{re.escape(name)}': it is reserved"):
        ModelKey.of(name, 1)


def test_a_model_deployed_before_its_name_was_reserved_can_be_addressed() -> None:
    assert ModelKey.parse("datasets-1") == ModelKey("datasets", 1)


def test_every_reserved_name_would_be_deployable_and_is_in_lower_case() -> None:
    # Else the set would hold an entry that does nothing.
    for name in RESERVED_NAMES:
        assert NAME.fullmatch(name)
        assert name == name.lower()


@pytest.mark.parametrize("version", ["1", "10", "999999999", 1, 999_999_999])
def test_accepts_canonical_versions(version: str | int) -> None:
    assert ModelKey.of("a", version).version == int(version)


@pytest.mark.parametrize(
    "version",
    [
        "",
        "0",
        "01",
        "1_0",
        " 1 ",
        " 1",
        "1 ",
        "1\n",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "0x1",
        "\uff11",  # full-width 1
        "\u0661",  # Arabic 1
        "\u00b9",  # superscript 1
        "1\0",
        "latest",
        "None",
        "@champion",
        "1234567890",
        0,
        -1,
        1_000_000_000,
        True,
    ],
)
def test_refuses_other_versions(version: str | int) -> None:
    with pytest.raises(InvalidName, match=r"a version is a whole number from 1 to 999999999"):
        ModelKey.of("a", version)


@pytest.mark.parametrize("hostile", ["a\nb\x1b[2J\0", "\ud800", "=cmd()|" + "\u202e" * 5000])
def test_a_refusal_shows_hostile_text_escaped_and_short(hostile: str) -> None:
    for name, version in ((hostile, "1"), ("a", hostile)):
        with pytest.raises(InvalidName) as refused:
            ModelKey.of(name, version)
        detail = refused.value.detail
        assert detail.isascii()
        assert detail.isprintable()
        assert len(detail) < 700
        assert refused.value.status == 422


def test_a_refusal_shows_the_beginning_of_a_long_name() -> None:
    with pytest.raises(InvalidName) as refused:
        ModelKey.of("x" * 5000, 1)
    assert "'" + "x" * 60 in refused.value.detail
    assert "x" * 61 not in refused.value.detail


@pytest.mark.parametrize("text", ["", "diabetes", "a1", "a_1", "a\u20101", "x" * 5000, "a\n"])
def test_what_has_no_hyphen_is_nothing_deployed(text: str) -> None:
    with pytest.raises(NotDeployed) as unknown:
        ModelKey.parse(text)
    assert "<model>-<version>" in unknown.value.detail
    assert unknown.value.detail.isprintable()
    assert len(unknown.value.detail) < 250


@pytest.mark.parametrize(
    "text", ["-1", "a-", "a-01", "a-1\n", "a-1 ", "a-0", "a-\uff11", "--host=x-1"]
)
def test_parse_checks_both_parts(text: str) -> None:
    with pytest.raises(InvalidName):
        ModelKey.parse(text)


@given(keys | st.builds(ModelKey, ambiguous, versions))
def test_a_key_survives_being_written_and_read(key: ModelKey) -> None:
    assert ModelKey.parse(str(key)) == key


def test_a_name_that_ends_like_a_version_stays_apart() -> None:
    assert ModelKey.parse("a-1-2") == ModelKey("a-1", 2)
    assert ModelKey.parse("a-1") == ModelKey("a", 1)


@given(keys)
def test_the_path_of_a_key_is_canonical(key: ModelKey) -> None:
    assert is_canonical(key.path.encode("ascii"), unquote(key.path))
    assert unquote(key.path) == f"/{key}"


@given(st.builds(Options, env_manager=st.sampled_from(EnvManager), workers=st.integers(1, 64)))
def test_options_survive_being_saved(options: Options) -> None:
    assert Options.from_dict(options.as_dict()) == options


def test_saved_options_of_other_releases_can_be_read() -> None:
    assert Options.from_dict({"later": 1}) == Options()


def test_the_first_launch_is_no_restart() -> None:
    assert [row(State.READY, starts=n).restarts for n in range(4)] == [0, 0, 1, 2]


def test_only_states_in_which_nothing_is_under_way_are_settled() -> None:
    settled = {state for state in State if row(state).settled}
    assert settled == {State.READY, State.PARKED, State.STOPPED, State.FAILED}


def test_a_deployment_tells_what_its_leader_does() -> None:
    later, earlier = AT + timedelta(seconds=9), AT
    failing = launch(LaunchState.PENDING, reason="it died", tries=3)
    ready = [
        launch(LaunchState.READY, replica=number, reason="healthy", ready_at=at)
        for number, at in ((1, later), (2, earlier))
    ]
    both = row(State.READY, launches=(failing, *ready))
    assert (both.state, both.reason, both.tries) == (State.READY, "healthy", 0)
    assert (both.launch_id, both.port, both.handle) == (
        ready[0].launch_id,
        ready[0].port,
        ready[0].handle,
    )
    assert both.ready_at == earlier
    alone = row(State.PENDING, launches=(failing,))
    assert (alone.state, alone.reason, alone.tries) == (State.PENDING, "it died", 3)
    assert (alone.launch_id, alone.ready_at) == (None, None)


@pytest.mark.parametrize("state", sorted(AT_REST))
def test_a_deployment_without_a_launch_tells_how_it_rests(state: State) -> None:
    resting = row(state, reason="why", tries=5)
    assert (resting.state, resting.reason, resting.tries) == (state, "why", 5)
    assert (resting.leader, resting.launch_id, resting.port, resting.kills) == (None, None, None, 0)
    coming = launch(LaunchState.STARTING, LaunchRole.COMING)
    beside = replace(resting, launches=(coming,))
    assert (beside.state, beside.launch_id, beside.coming) == (state, None, coming)


def test_launches_have_roles() -> None:
    serving = launch(LaunchState.READY)
    coming = launch(LaunchState.STARTING, LaunchRole.COMING, id=2)
    ending = launch(LaunchState.STOPPING, LaunchRole.RETIRING, id=3)
    all_of_it = row(State.READY, launches=(serving, coming, ending))
    assert (all_of_it.serving, all_of_it.coming, all_of_it.retiring) == (
        (serving,),
        coming,
        (ending,),
    )
    assert [one.is_live for one in all_of_it.launches] == [True, True, True]
    assert not launch(LaunchState.PENDING).is_live


def test_a_route_serves_while_one_of_its_targets_has_an_address() -> None:
    key, at = ModelKey("m", 1), Address("127.0.0.1", 8001)
    held, there = Target(None, "a"), Target("b", "b", at)
    assert not Route(key, State.PENDING).serves
    assert not Route(key, State.PENDING, (held,)).serves
    assert Route(key, State.READY, (held, there)).serves
    assert not Route(key, State.PENDING, (held,), retiring=(there,)).serves


def test_a_port_is_free_unless_leased_quarantined_or_blocked() -> None:
    usage = PortUsage(8001, 8010, leased=3, quarantined=2, blocked=(BlockedPort(8001, "nginx"),))
    assert (usage.size, usage.free) == (10, 4)


def test_an_address_has_a_url() -> None:
    assert Address("127.0.0.1", 8001).url == "http://127.0.0.1:8001"
