"""Which release a server is, what it has, and when it is asked again."""

from types import SimpleNamespace
from typing import Any

import pytest

from model_deployment.core.errors import RegistryUnavailable
from model_deployment.registry.aliases import read_aliases
from model_deployment.registry.errors import RegistryUnusable, explain
from model_deployment.registry.mlflow_server import MlflowServer
from model_deployment.registry.served_client import ServedClient
from model_deployment.registry.server_features import (
    MlflowVersion,
    ServerFeature,
    is_missing_call,
    missing_path,
    offers,
    read_mlflow_version,
)

ADDRESS = "http://ann:secret@mlflow:5000"
PAGE = (
    "API request to endpoint /api/2.0/mlflow/logged-models/search failed with error code 404 != 200. "
    "Response body: '<!doctype html>'"
)


class Refusal(Exception):
    """An error of MLflow's client."""

    def __init__(self, text: str, error_code: str = "INTERNAL_ERROR") -> None:
        super().__init__(text)
        self.error_code = error_code


MISSING = Refusal(PAGE, "ENDPOINT_NOT_FOUND")
ABSENT = Refusal("RESOURCE_DOES_NOT_EXIST: Logged model m-1 not found", "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2.9.2", (2, 9)),
        ("3.17.2\n", (3, 17)),
        ('"2.14.1"', (2, 14)),
        ("3.0.0rc1", (3, 0)),
        ("2.9.3.dev0", (2, 9)),
        ("1.30", (1, 30)),
        ("<!doctype html><title>404</title>", None),
        ('{"version": "1.2.3"}', None),
        ("Not Found", None),
        ("2", None),
        ("", None),
        ("2.9.2 " + "x" * 80, None),
    ],
)
def test_version_of_a_server_is_read(text: str, expected: tuple[int, int] | None) -> None:
    found = read_mlflow_version(text)
    assert (found and found[:2]) == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.30.1", set()),
        ("2.2.2", set()),
        ("2.3.0", {"ALIASES"}),
        ("2.9.2", {"ALIASES", "DATASETS"}),
        ("2.20.4", {"ALIASES", "DATASETS"}),
        ("2.22.4", {"ALIASES", "DATASETS", "PROMPTS"}),
        ("3.0.0rc1", {"ALIASES", "DATASETS", "PROMPTS", "LOGGED_MODELS"}),
        ("10.0.0", {"ALIASES", "DATASETS", "PROMPTS", "LOGGED_MODELS"}),
    ],
)
def test_release_decides_what_a_server_has(version: str, expected: set[str]) -> None:
    known = read_mlflow_version(version)
    # What was learned of another server does not count against a known release.
    assert {one.name for one in ServerFeature if offers(known, [*ServerFeature], one)} == expected


def test_server_of_unknown_release_is_asked_for_all_that_it_was_not_found_to_lack() -> None:
    learned = {ServerFeature.LOGGED_MODELS}
    assert {one for one in ServerFeature if not offers(None, learned, one)} == learned


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MISSING, True),
        (Refusal("ENDPOINT_NOT_FOUND: no such API", "ENDPOINT_NOT_FOUND"), True),
        (Refusal(PAGE.replace("404", "405")), True),
        (Refusal(PAGE.replace("404", "501")), True),
        (Refusal("INTERNAL_ERROR: Response: {'detail': 'Not Found'}"), True),
        (ABSENT, False),
        (Refusal(PAGE.replace("404", "500")), False),
        (Refusal(PAGE.replace("404", "403")), False),
        (Refusal("INTERNAL_ERROR: Response: {'error': 'upstream'}"), False),
        (ConnectionError("connection refused"), False),
    ],
)
def test_missing_call_is_told_from_other_errors(error: Exception, expected: bool) -> None:
    assert is_missing_call(error) is expected


class Asked:
    """A server whose release and time the test sets."""

    def __init__(self, *answers: str | Exception | None) -> None:
        self.answers = [*answers]
        self.number = 0
        self.now = 1000.0
        self.server = MlflowServer(ADDRESS, self._ask, lambda: self.now)

    def _ask(self, address: str) -> MlflowVersion | None:
        assert address == ADDRESS
        self.number += 1
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return read_mlflow_version(answer or "")


def test_version_is_asked_once_and_again_after_minutes() -> None:
    asked = Asked("2.9.2", "3.1.0")
    for _ in range(5):
        assert not asked.server.has(ServerFeature.LOGGED_MODELS)
    asked.now += 299
    assert (asked.server.has(ServerFeature.LOGGED_MODELS), asked.number) == (False, 1)
    asked.now += 2
    assert (asked.server.has(ServerFeature.LOGGED_MODELS), asked.number) == (True, 2)


def test_error_has_the_version_asked_again_with_a_pause() -> None:
    asked = Asked("2.9.2", "3.1.0")
    assert asked.server.version() == (2, 9, "2.9.2")
    asked.server.doubt()
    asked.now += 5
    assert asked.server.last_version == str(asked.server.version()) == "2.9.2"
    asked.now += 6
    assert str(asked.server.version()) == asked.server.last_version == "3.1.0"
    assert asked.number == 2


def test_server_that_does_not_answer_keeps_its_version() -> None:
    asked = Asked("2.9.2", ConnectionError(), ConnectionError(), "3.1.0")
    assert not asked.server.has(ServerFeature.LOGGED_MODELS)
    asked.server.doubt()
    for _ in range(2):
        asked.now += 11
        assert not asked.server.has(ServerFeature.LOGGED_MODELS)
    asked.now += 11
    assert asked.server.has(ServerFeature.LOGGED_MODELS)


def test_unknown_server_is_learned_and_learned_anew() -> None:
    asked = Asked(None)
    server = asked.server
    assert server.has(ServerFeature.LOGGED_MODELS)
    assert not server.surely_has(ServerFeature.PROMPTS)
    assert server.learn_missing(ServerFeature.LOGGED_MODELS)
    assert not server.has(ServerFeature.LOGGED_MODELS)
    assert server.has(ServerFeature.ALIASES)
    asked.now += 301  # it may have been upgraded
    assert server.has(ServerFeature.LOGGED_MODELS)


def test_missing_page_of_a_release_with_the_call_is_not_believed() -> None:
    asked = Asked("3.1.0")
    assert asked.server.has(ServerFeature.LOGGED_MODELS)
    assert not asked.server.learn_missing(ServerFeature.LOGGED_MODELS)
    assert asked.server.has(ServerFeature.LOGGED_MODELS)


def test_missing_page_of_a_server_that_was_replaced_by_an_older_one_is_believed() -> None:
    asked = Asked("3.1.0", "2.22.4")
    assert asked.server.has(ServerFeature.LOGGED_MODELS)
    assert asked.server.learn_missing(ServerFeature.LOGGED_MODELS)


def test_database_has_what_the_client_has() -> None:
    server = MlflowServer("sqlite:////data/mlflow.db")
    assert all(server.surely_has(feature) for feature in ServerFeature)


class Client:
    """MLflow's client, whose server answers with an error or with what was asked."""

    tracking_uri = ADDRESS

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append((name, *arguments, named))
            if self.error is not None:
                raise self.error
            return []

        return call


def served(asked: Asked, client: Client) -> ServedClient:
    return ServedClient(client, asked.server, asked.server)


def test_older_server_is_not_asked_for_logged_models() -> None:
    client = Client(MISSING)
    it = served(Asked("2.9.2"), client)
    assert it.search_logged_models(["1"]) == []
    with pytest.raises(
        Exception, match=r"is 2\.9\.2, which has no logged models; they need MLflow 3\.0"
    ) as got:
        it.get_logged_model("m-1")
    assert got.value.error_code == "RESOURCE_DOES_NOT_EXIST"  # type: ignore[attr-defined]
    assert "secret" not in str(got.value)
    assert client.calls == []


def test_unknown_server_is_asked_for_logged_models_once() -> None:
    client = Client(MISSING)
    it = served(Asked(None), client)
    for _ in range(3):
        assert it.search_logged_models(["1"]) == []
    assert len(client.calls) == 1


@pytest.mark.parametrize("release", ["3.1.0", None])
def test_other_errors_of_a_call_are_passed_on(release: str | None) -> None:
    for error in (ABSENT, Refusal("INTERNAL_ERROR: broken"), ConnectionError("refused")):
        with pytest.raises(type(error), match=str(error)):
            served(Asked(release), Client(error)).get_logged_model("m-1")


def test_datasets_are_left_out_where_the_server_has_none() -> None:
    for release, calls in (("2.2.2", 0), ("2.4.0", 1)):
        client = Client()
        served(Asked(release), client).log_inputs("run", [])
        assert len(client.calls) == calls


@pytest.mark.parametrize(("release", "own"), [("2.9.2", True), (None, True), ("2.22.4", False)])
def test_models_are_searched_without_prompts_in_the_way_that_a_server_knows(
    release: str | None, own: bool
) -> None:
    client = Client()
    served(Asked(release), client).search_registered_models(max_results=7)
    [(name, named)] = client.calls
    assert (name, named["max_results"]) == ("search_registered_models", 7)
    assert ("filter_string" in named) is own


def test_prompts_of_an_unknown_server_are_no_models() -> None:
    prompt = SimpleNamespace(name="p", tags={"mlflow.prompt.is_prompt": "true"})
    model = SimpleNamespace(name="m", tags={})
    client = SimpleNamespace(search_registered_models=lambda **_: [prompt, model])
    it = ServedClient(client, Asked(None).server, Asked(None).server)
    assert it.search_registered_models() == [model]


def test_aliases_of_a_server_without_them_say_what_helps() -> None:
    client = SimpleNamespace(get_registered_model=lambda _: SimpleNamespace(aliases={}))
    with pytest.raises(
        RegistryUnavailable, match=r"is 2.2.2, which has no aliases.*need MLflow 2.3"
    ):
        read_aliases("m", Asked("2.2.2").server, client)
    assert read_aliases("m", Asked("2.9.2").server, client) == {}


@pytest.mark.parametrize("release", ["2.2.2", None])
def test_alias_cannot_be_set_where_the_server_has_none(release: str | None) -> None:
    page = Refusal(PAGE.replace("logged-models/search", "registered-models/alias"))
    with pytest.raises(RegistryUnusable, match=r"has no aliases of models; they need MLflow 2\.3"):
        served(Asked(release), Client(page)).set_registered_model_alias("m", "champion", "1")
    client = Client()
    served(Asked("2.3.0"), client).set_registered_model_alias("m", "champion", "1")
    assert client.calls == [("set_registered_model_alias", "m", "champion", "1", {})]


def test_call_that_a_known_server_lacks_is_explained() -> None:
    said = explain(MISSING, "http://mlflow:5000", "2.9.2")
    assert said == (
        "the MLflow server at http://mlflow:5000 is 2.9.2, which has no such call "
        "(/api/2.0/mlflow/logged-models/search); a newer server has it"
    )
    assert "is not an MLflow server (404)" in explain(MISSING, "http://mlflow:5000")
    assert missing_path(ABSENT) == ""
