"""Fills an MLflow registry with models that order faults from the stub model server.

A program of its own (``python -m tests.support.filled_registry FOLDER``), because MLflow's warnings would
be errors in the tests. ``MODELS`` is the menu the tests choose from by name.
"""

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

#: Paths in faults are relative: a model server works in the ``work`` folder of its data directory.
WEDGE, FLAKY = "wedge", "flaky"

#: MLflow takes all of these; the controller must not.
HOSTILE_NAMES = (
    "--host=0.0.0.0", "-rf", "$(id)", "`id`", "=cmd()", "a%2fb", "a?b#c", "a;b", "a|b", "a&b", "a+b", "a@b",
    "a\nb", "a\x00b", "a\x1b[31m", " lead", "_a", ".hidden", "undeploy", "Undeploy", "get_model_list",
    "x" * 5000, "\u00e9", "e\u0301", "\uff11", "\u202eabc",
)  # fmt: skip
MANY = 110
#: A controller knows for good what was ever deployed: of this model, tests deploy version 1 alone. Its
#: version 4 has a run, as that of ``stub``.
COMPARED = "compared"
#: The longest name that may be deployed, with nothing in it to break a line at.
LONG = "m" * 128
#: What a browser must show and never obey: as a column, a description, a line of a log, a value.
SCRIPT = (
    """</script><script>alert(1)</script><img src=x onerror=alert(1)>"'><b>&amp;{{7*7}}${7*7}"""
)
#: More of the kind: other ways into HTML, attributes, addresses, scripts, templates, terminals and tables.
CORPUS = (
    "<script>alert(2)</script>", "<svg/onload=alert(3)>", "<svg><script>alert(4)</script></svg>",
    "\"><img src=x onerror=alert(5)>", "'><img src=x onerror=alert(6)>",
    "` onmouseover=alert(7) x=`", "\" autofocus onfocus=alert(8) x=\"", "' onclick='alert(9)",
    "javascript:alert(10)", "data:text/html,<b>x", "<iframe src=javascript:alert(11)>",
    "<a href=javascript:alert(12)>x</a>", "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0>", "<link rel=stylesheet href=//evil.example>",
    "<style>*{display:none}", "</textarea><script>alert(13)</script>",
    "</title><script>alert(14)</script>", "</main></body></html>",
    "</select></option></table></pre>", "<!--", "-->", "<![CDATA[", "]]>", "<plaintext>",
    "<template><p>", "<form><input>", "&lt;b&gt;", "&#60;b&#62;", "&quot;&apos;&nbsp;", "{{7*7}}",
    "{% raw %}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "constructor", "toString", "hasOwnProperty",
    "\\", "\\u003cb\\u003e", "a'b\"c`d", "$(id) `id` ;|&", "=1+1", "\u202egnol", "\u2028line",
    "\u200bzero", "e\u0301\u0301\u0301", "\U0001f600", "\ufdfa" * 40, "w" * 300,
)  # fmt: skip


#: What MLflow's server answers if the model raises an exception.
RAISED = {
    "error_code": "BAD_REQUEST",
    "message": "Encountered an unexpected error while evaluating the model. Verify …",
    "stack_trace": "Traceback (most recent call last):\n"
    '  File "/models/raises/code/model.py", line 12, in predict\n'
    "    return scale(row)\n"
    f"ValueError: could not scale {SCRIPT}\n",
}


class Registered(NamedTuple):
    """A registered model: how many versions, and what their servers do."""

    versions: int = 1
    faults: dict[str, Any] = {}
    #: Its input columns by name, with their types.
    columns: dict[str, str] = {"x": "double"}
    #: Lines of its requirements; empty: it says nothing of them.
    requirements: str = ""


#: Their log tells of each request as it arrives.
_NOTES = {"spam_log_bytes": 11}

MODELS: dict[str, Registered] = {
    "stub": Registered(3),
    "other": Registered(2),
    "many": Registered(MANY),
    "a b.c_d-e": Registered(12),
    COMPARED: Registered(3),
    # life
    "wrapper": Registered(2, {"wrapper": True}),
    "slow-start": Registered(4, {"load_seconds": 1.5, "wrapper": True}),
    "never-ready": Registered(4, {"never_ready": True, "wrapper": True}),
    "never-ready-deaf": Registered(1, {"never_ready": True, "ignore_sigterm": True}),
    "fails": Registered(2, {"exit_at_start": 7}),
    "no-library": Registered(1, {"import_at_start": "no_such_library"}),
    "flaky": Registered(1, {"flaky_start_file": FLAKY}),
    "short-lived": Registered(1, {"exit_after_seconds": 0.3}),
    "deaf": Registered(3, {"ignore_sigterm": True, "wrapper": True}),
    "parent": Registered(1, {"fork_grandchild": "plain", "ignore_sigterm": True}),
    "parent-setsid": Registered(1, {"fork_grandchild": "setsid", "ignore_sigterm": True}),
    "parent-double": Registered(1, {"fork_grandchild": "double", "ignore_sigterm": True}),
    "hostile": Registered(
        1, {"say": SCRIPT}, {SCRIPT: "string", "__proto__": "string", "n": "long"}
    ),
    "corpus": Registered(2, {"say": "\n".join(CORPUS)}, dict.fromkeys(CORPUS, "string")),
    LONG: Registered(2),
    # environments, of packages that tests/support/tiny_wheels.py has
    "learner": Registered(9, requirements="learner==1.5\n"),
    "counter": Registered(1, requirements="numbers-of-us==2.0\n"),
    "conflict": Registered(1, requirements="learner==1.5\nnumbers-of-us==2.0\n"),
    # answers
    "slow": Registered(2, {"slow_seconds": 1.0, **_NOTES}),
    "slower": Registered(2, {"slow_seconds": 60.0, **_NOTES}),
    "slower-wrapped": Registered(1, {"slow_seconds": 60.0, "wrapper": True, **_NOTES}),
    "slower-deaf": Registered(1, {"slow_seconds": 60.0, "ignore_sigterm": True, **_NOTES}),
    "hangs": Registered(1, {"hang_on_request": True, **_NOTES}),
    "echo": Registered(1, {"echo_headers": True}),
    "wedges": Registered(1, {"wedge_file": WEDGE}),
    "times-out": Registered(1, {"timeout_504": True}),
    "raises": Registered(1, {"status": 400, "body": json.dumps(RAISED)}),
    "dies-exit": Registered(1, {"die_on_request": "exit"}),
    "dies-sys.exit": Registered(1, {"die_on_request": "sys.exit"}),
    "dies-segfault": Registered(1, {"die_on_request": "segfault"}),
    "dies-kill": Registered(1, {"die_on_request": "kill"}),
}
#: Registered models that cannot be served as they stand.
NO_ARTIFACTS, NO_MLMODEL, NOT_READY = "no-artifacts", "no-mlmodel", "not-ready"

EXAMPLE = {"dataframe_split": {"columns": ["x"], "data": [[1.5]]}}
_MLMODEL = {
    "flavors": {"python_function": {"loader_module": "stub"}},
    "saved_input_example_info": {"serving_input_path": "serving_input_example.json"},
}


def fill(root: Path) -> None:
    """Register everything in ``FOLDER/mlflow.db``."""
    from mlflow import MlflowClient

    database = root / "mlflow.db"
    uri = f"sqlite:///{database}"
    client = MlflowClient(uri, uri)
    for name, model in MODELS.items():
        client.create_registered_model(name)
        for version in range(1, model.versions + 1):
            source = write_model(root / "artifacts" / name / str(version), name, version, model)
            client.create_model_version(name, source.as_uri())
    _describe(client)
    _register_odd_ones(client, root)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(
            "UPDATE model_versions SET status = 'PENDING_REGISTRATION' WHERE name = ?", (NOT_READY,)
        )
        connection.commit()


def write_model(folder: Path, name: str, version: int, model: Registered) -> Path:
    folder.mkdir(parents=True)
    # JSON is YAML. The name tells the answers of all models and versions apart.
    inputs = [{"type": t, "name": name, "required": True} for name, t in model.columns.items()]
    signature = {"inputs": json.dumps(inputs), "outputs": None, "params": None}
    (folder / "MLmodel").write_text(json.dumps({**_MLMODEL, "signature": signature}))
    (folder / "stub.json").write_text(json.dumps({"name": f"{name}-{version}", **model.faults}))
    if model.requirements:
        (folder / "requirements.txt").write_text(model.requirements)
        (folder / "python_env.yaml").write_text("dependencies:\n- -r requirements.txt\n")
    own = {"string": SCRIPT, "long": 2**60 + 1, "double": 1.5}
    split = {"columns": [*model.columns], "data": [[own[kind] for kind in model.columns.values()]]}
    example = {"dataframe_split": split}
    if name == "corpus":
        example["dataframe_split"]["data"] = [[*CORPUS]]
    (folder / "serving_input_example.json").write_text(json.dumps(example))
    return folder


def _describe(client: Any) -> None:
    """What the lists show beside names and versions."""
    run = client.create_run("0")
    client.log_metric(run.info.run_id, "rmse", 1.5)
    client.log_metric(run.info.run_id, "odd", float("nan"))
    for name in ("stub", COMPARED):
        source = client.get_model_version(name, "1").source
        client.create_model_version(name, source, run.info.run_id)
    client.update_registered_model("stub", "answers what it is asked")
    client.set_registered_model_tag("stub", "team", "red")
    client.update_registered_model("hostile", SCRIPT)
    client.update_registered_model("corpus", " ".join(CORPUS))
    client.set_registered_model_alias("stub", "champion", "2")


def _register_odd_ones(client: Any, root: Path) -> None:
    plain = client.get_model_version("stub", "1").source
    empty = root / "artifacts" / "empty"
    empty.mkdir()
    (empty / "readme.txt").write_text("not a model")
    sources = {
        NO_ARTIFACTS: (root / "artifacts" / "gone").as_uri(),
        NO_MLMODEL: empty.as_uri(),
        NOT_READY: plain,
        **dict.fromkeys(HOSTILE_NAMES, plain),
    }
    for name, source in sources.items():
        client.create_registered_model(name)
        client.create_model_version(name, source)
    for name in CORPUS:
        if not {"/", ":"} & {*name}:  # MLflow takes these in no name
            client.create_registered_model(name, description=name)


if __name__ == "__main__":
    fill(Path(sys.argv[1]))
