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
from model_deployment.cli.deployments import with_option_flags
from model_deployment.core.options import OptionOverrides, Options, option
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
    page = files("model_deployment.dashboard") / "templates" / "versions.html.jinja"
    macro = page.read_text().partition("{% macro field")[2].partition("{% block main %}")[0]
    fields: Any = Template("{% macro field" + macro).module
    html = fields.field("priority", More.declarations()["priority"], 3)
    assert 'name="priority" type="number" min="0" max="9" placeholder="3"' in html


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


def test_every_option_of_today_is_everywhere() -> None:
    names = [*Options.declarations()]
    assert [*DeployOptions.model_fields] == names
    assert [*OptionsOut.model_fields] == names
    assert DeployDefaults.model_fields.keys() < {*names}


def test_overrides_name_options_that_exist() -> None:
    with pytest.raises(TypeError, match="colour"):
        OptionOverrides(colour="red").apply_to(Options())
