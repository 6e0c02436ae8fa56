"""One deploy option is declared in one place: all that callers and operators see is made from it."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pytest
import typer
from jinja2 import Template
from pydantic import ValidationError
from typer.testing import CliRunner

from model_deployment.api.options import DeployOptions, OptionsOut, deploy_model, options_model
from model_deployment.cli.option_flags import with_option_flags
from model_deployment.core.options import OptionOverrides, Options, option
from model_deployment.core.replicas import Replicas
from model_deployment.settings.deploy_defaults import DeployDefaults, deploy_defaults


@dataclass(frozen=True, slots=True)
class More(Options):
    """The options, and one that no other place knows."""

    priority: int = option(
        3, int, "Priority", "Priority of requests.", minimum=0, maximum=9, setting=True
    )


def test_new_option_is_a_member_of_the_deploy_call() -> None:
    model = deploy_model(More)
    assert model.model_validate({"priority": 5}).overrides().apply_to(More()) == More(priority=5)
    assert model.model_validate({}).overrides().apply_to(More()) == More()
    for wrong in (10, -1, "5", 5.0):
        with pytest.raises(ValidationError):
            model.model_validate({"priority": wrong})
    assert model.model_json_schema()["properties"]["priority"]["description"] == (
        "Priority of requests."
    )


def test_new_option_is_in_answers_and_in_the_state_row() -> None:
    assert options_model(More)(**More(priority=4).as_dict()).model_dump()["priority"] == 4
    assert More.from_dict(More(priority=4).as_dict()) == More(priority=4)
    assert More.from_dict(Options(workers=2).as_dict()) == More(workers=2)


def command_line(*words: str) -> dict[str, Any]:
    """The flags that a command of the command line gets."""
    app, given = typer.Typer(), dict[str, Any]()

    @app.command()
    @with_option_flags(More)
    def deploy(url: str = "", **flags: Any) -> None:
        given.update(flags)

    done = CliRunner().invoke(app, [*words])
    assert done.exit_code == 0, " ".join(done.output.replace("│", " ").split())
    return given


def test_new_option_is_a_flag_of_the_command_line() -> None:
    given = command_line("--priority", "4", "--capture-hash", "a", "--capture-hash", "b")
    named = {name: value for name, value in given.items() if value is not None}
    assert named == {"priority": 4, "capture_hash": ["a", "b"]}
    assert given.keys() == More.declarations().keys()


def test_new_option_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIORITY", "7")
    assert deploy_defaults(More)().model_dump()["priority"] == 7


def test_new_option_is_a_field_of_the_form() -> None:
    page = files("model_deployment.dashboard") / "templates" / "option_fields.html.jinja"
    fields: Any = Template(page.read_text()).module
    declared = More.declarations()["priority"]
    html = fields.field("priority", declared, 3)
    assert 'name="priority" id="new-priority"' in html
    assert 'type="number" min="0" max="9" placeholder="3"' in html
    assert declared.description.replace("`", "") in html
    html = fields.field("priority", declared, 3, 5, "change")
    assert 'value="5"' in html
    assert "Needs a new launch." in html


@pytest.mark.parametrize("value", ["auto", 0, 64])
def test_a_word_may_stand_for_a_number(value: int | str) -> None:
    asked = DeployOptions.model_validate({"batch_max_rows": value})
    assert asked.overrides().apply_to(Options()).batch_max_rows == value
    assert OptionsOut(**asked.overrides().apply_to(Options()).as_dict()).model_dump()[
        "batch_max_rows"
    ] == value  # fmt: skip
    given = command_line("--batch-max-rows", str(value))
    assert (given["batch_max_rows"], type(given["batch_max_rows"])) == (value, type(value))


@pytest.mark.parametrize("value", ["Auto", "", "9", 1.5, True, -1, 100_001, [], {}])
def test_other_words_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        DeployOptions.model_validate({"batch_max_rows": value})


def test_the_command_line_says_which_word_there_is() -> None:
    with pytest.raises(AssertionError, match="neither a whole number nor auto"):
        command_line("--batch-max-rows", "most")


@pytest.mark.parametrize(
    ("given", "meant", "answered"),
    [
        (2, Replicas(2, 2), 2),
        ("2", Replicas(2, 2), 2),
        (" 1 - 4 ", Replicas(1, 4), {"min": 1, "max": 4}),
        ({"min": 1, "max": 4}, Replicas(1, 4), {"min": 1, "max": 4}),
        ({"min": 3, "max": 3}, Replicas(3, 3), 3),
        ({"max": 64}, Replicas(1, 64), {"min": 1, "max": 64}),
    ],
)
def test_replicas_are_a_number_or_a_range(given: Any, meant: Replicas, answered: Any) -> None:
    asked = DeployOptions.model_validate({"replicas": given})
    options = asked.overrides().apply_to(Options())
    assert options.replicas == meant
    assert OptionsOut(**options.as_dict()).model_dump(mode="json")["replicas"] == answered
    assert asked.model_dump(mode="json", exclude_none=True) == {"replicas": answered}
    if isinstance(given, str):
        assert command_line("--replicas", given)["replicas"] == answered


@pytest.mark.parametrize(
    "value",
    [
        0, -1, 65, True, 1.0, 2.5, "", "two", "4-1", "1-65", "0-2", "1-2-3", "1\u20134", "٣", [], [1], {},
        {"min": 2, "max": 1}, {"min": "1", "max": "4"}, {"min": 1, "most": 4}, {"min": None}, "9" * 5000,
    ],
)  # fmt: skip
def test_other_replicas_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="a whole number from 1 to 64, or a range like 1-4"):
        DeployOptions.model_validate({"replicas": value})


@pytest.mark.parametrize(
    ("given", "meant"),
    [(2**28, 2**28), ("512MiB", 2**29), ("1.5 GB", 15 * 10**8), ("auto", "auto")],
)
def test_sizes_may_be_text(given: Any, meant: Any) -> None:
    asked = DeployOptions.model_validate({"memory_limit": given})
    assert asked.overrides().apply_to(Options()).memory_limit == meant
    assert command_line("--memory-limit", str(given))["memory_limit"] == str(given)


@pytest.mark.parametrize("value", ["64KiB", "1 parsec", "", True, 0, -1, 2**51, "1e9"])
def test_other_sizes_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        DeployOptions.model_validate({"memory_limit": value})


@pytest.mark.parametrize("value", ["auto", 0.5, 2])
def test_processors_are_a_number_or_a_word(value: Any) -> None:
    asked = DeployOptions.model_validate({"cpu_limit": value, "workers": 3})
    options = asked.overrides().apply_to(Options())
    assert (options.cpu_limit, options.processors) == (value, 3.0 if value == "auto" else value)
    assert command_line("--cpu-limit", str(value))["cpu_limit"] == value


@pytest.mark.parametrize("value", [0, 0.01, 1025, True, "1", "all", float("nan"), float("inf")])
def test_other_processors_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        DeployOptions.model_validate({"cpu_limit": value})


@pytest.mark.parametrize(
    ("flag", "text", "said"),
    [
        ("--replicas", "4-1", "neither a whole number from 1 to 64 nor a range like 1-4"),
        ("--cpu-limit", "nan", "neither a number nor auto"),
        ("--cpu-limit", "many", "neither a number nor auto"),
    ],
)
def test_command_line_says_what_to_write(flag: str, text: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        command_line(flag, text)


def test_limits_of_containers_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = deploy_defaults(Options)
    assert (defaults().model_dump()["memory_limit"], defaults().model_dump()["cpu_limit"]) == (
        "auto",
        "auto",
    )
    monkeypatch.setenv("MEMORY_LIMIT", "4GiB")
    monkeypatch.setenv("CPU_LIMIT", "1.5")
    monkeypatch.setenv("START_METHOD", "container")
    found = defaults().model_dump()
    assert (found["memory_limit"], found["cpu_limit"]) == (2**32, 1.5)
    assert Options(start_method=found["start_method"]).contained
    for name, value in (("CPU_LIMIT", "0"), ("CPU_LIMIT", "2000"), ("MEMORY_LIMIT", "1MiB")):
        with monkeypatch.context() as other:
            other.setenv(name, value)
            with pytest.raises(ValidationError):
                defaults()


def test_form_shows_replicas_as_they_are_written() -> None:
    page = files("model_deployment.dashboard") / "templates" / "option_fields.html.jinja"
    fields: Any = Template(page.read_text()).module
    declared = Options.declarations()["replicas"]
    html = fields.field("replicas", declared, 1, {"min": 1, "max": 4}, "change")
    assert 'value="1-4"' in html
    assert 'placeholder="1"' in html
    assert 'data-kind="range"' in html
    assert "Changes at once." in html
    assert 'value="3"' in fields.field("replicas", declared, 1, 3, "change")
    # A form for a new deployment has the default itself, which is not JSON.
    assert 'placeholder="1"' in fields.field("replicas", declared, Replicas(1, 1))
    assert 'placeholder="2-3"' in fields.field("replicas", declared, Replicas(2, 3))


def test_every_option_of_today_is_everywhere() -> None:
    names = [*Options.declarations()]
    assert [*DeployOptions.model_fields] == names
    assert [*OptionsOut.model_fields] == names
    assert DeployDefaults.model_fields.keys() < {*names}


def test_overrides_name_options_that_exist() -> None:
    with pytest.raises(TypeError, match="colour"):
        OptionOverrides(colour="red").apply_to(Options())
