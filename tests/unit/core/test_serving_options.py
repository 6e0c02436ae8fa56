"""How a deployment is to be served: options, overrides of them, and what the model says."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.options import (
    AUTO,
    EnvManager,
    OptionOverrides,
    Options,
    StartMethod,
    Validation,
)
from model_deployment.core.replicas import MAX_REPLICAS, Replicas
from model_deployment.registry.mlmodel import MLmodelReader
from tests.support.gates import column, split, values

options = st.builds(
    Options,
    env_manager=st.sampled_from(EnvManager),
    workers=st.integers(1, 64),
    validation=st.sampled_from(Validation),
    batch_max_rows=st.just(AUTO) | st.integers(0, 100_000),
    start_method=st.sampled_from(StartMethod),
    replicas=st.tuples(st.integers(1, 64), st.integers(1, 64)).map(
        lambda n: Replicas(min(n), max(n))
    ),
    threads=st.just(AUTO) | st.integers(1, 1024),
    memory_limit=st.just(AUTO) | st.integers(2**26, 2**50),
    cpu_limit=st.just(AUTO) | st.floats(0.1, 1024),
)
overrides = st.fixed_dictionaries(
    {},
    optional={
        "env_manager": st.none() | st.sampled_from(EnvManager),
        "workers": st.none() | st.integers(1, 64),
        "validation": st.none() | st.sampled_from(Validation),
        "batch_max_rows": st.sampled_from([None, AUTO]) | st.integers(0, 100_000),
        "start_method": st.none() | st.sampled_from(StartMethod),
    },
)


@given(options)
def test_options_survive_being_saved_as_json(saved: Options) -> None:
    assert Options.from_dict(json.loads(json.dumps(saved.as_dict()))) == saved


@given(st.integers(), st.integers())
def test_replicas_have_an_order_and_limits(least: int, most: int) -> None:
    if 1 <= least <= most <= MAX_REPLICAS:
        replicas = Replicas(least, most)
        assert Replicas.read(replicas.as_json()) == Replicas.read(str(replicas)) == replicas
        assert [replicas.clamp(n) for n in (0, least, most, 99)] == [least, least, most, most]
        assert replicas.follows == (least < most)
    else:
        with pytest.raises(ValueError, match="a whole number from 1 to 64"):
            Replicas(least, most)


def test_only_containers_are_no_forks() -> None:
    forks = {one: Options(start_method=one).forks for one in StartMethod}
    assert forks == {"auto": True, "forkserver": True, "serve": False, "container": False}
    assert all(Options(one).forks for one in EnvManager)
    assert [one for one in StartMethod if Options(start_method=one).contained] == ["container"]


def test_options_of_an_earlier_release_have_one_replica() -> None:
    options = Options.from_dict({"workers": 2})
    assert (options.replicas, options.processors) == (Replicas(1, 1), 2.0)
    with pytest.raises(ValueError, match="a range like 1-4"):
        Options.from_dict({"replicas": {"min": 3, "max": 2}})


@pytest.mark.parametrize("method", StartMethod)
def test_limits_of_an_earlier_release_hold_in_containers_only(method: StartMethod) -> None:
    saved = {"start_method": str(method), "memory_limit": 2**31, "cpu_limit": 0.5}
    kept = (2**31, 0.5) if method is StartMethod.CONTAINER else (AUTO, AUTO)
    before = Options.from_dict(saved)
    assert (before.memory_limit, before.cpu_limit) == kept
    now = Options.from_dict({**saved, "threads": AUTO})
    assert (now.memory_limit, now.cpu_limit) == (2**31, 0.5)


def test_options_of_an_earlier_release_are_strict_and_merge_as_they_did() -> None:
    saved = {"env_manager": "uv", "workers": 2}
    assert Options.from_dict(saved) == Options(EnvManager.UV, workers=2)
    assert Options.from_dict(saved | {"batch_max_rows": 0}).batch_max_rows == 0
    assert Options.from_dict(saved | {"batch_max_rows": 64}).batch_max_rows == 64


def test_an_unknown_way_of_checking_is_an_error() -> None:
    with pytest.raises(ValueError, match="lax"):
        Options.from_dict({"validation": "lax"})


@given(overrides, options)
def test_overrides_replace_what_they_name_and_keep_the_rest(
    named: dict[str, Any], before: Options
) -> None:
    after = OptionOverrides(**named).apply_to(before)
    for name in before.as_dict():
        given_value = named.get(name)
        expected = getattr(before, name) if given_value is None else given_value
        assert getattr(after, name) == expected
        assert type(getattr(after, name)) is type(expected)


def test_overrides_turn_batching_off() -> None:
    before = Options(validation=Validation.COERCE, batch_max_rows=64)
    assert OptionOverrides(batch_max_rows=0).apply_to(before) == Options(
        validation=Validation.COERCE, batch_max_rows=0
    )
    assert OptionOverrides().apply_to(before) == before


def model(folder: Path, *inputs: dict[str, Any], example: Any = None) -> Path:
    """A saved model, as far as it says something of itself."""
    signature = {"inputs": json.dumps([*inputs])} if inputs else None
    (folder / "MLmodel").write_text(json.dumps({"signature": signature}))
    if example is not None:
        (folder / "serving_input_example.json").write_text(json.dumps(example))
    return folder


def test_the_gate_is_made_of_the_signature(tmp_path: Path) -> None:
    path = model(tmp_path, column("long"))
    strict, coerce, observe = (MLmodelReader().gate(path, mode) for mode in Validation)
    assert strict.checked
    assert strict.check(split("1")).refused
    assert values(coerce.check(split("1")), None) == [1]
    assert (observe.check(split("x")).refused, observe.check(split("x")).count) == (False, 1)


@pytest.mark.parametrize("text", [None, "", "a: [", "{}", "signature: {inputs: '[1]'}"])
def test_gate_without_signature_accepts_everything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    caplog.set_level(logging.CRITICAL)
    if text is not None:
        (tmp_path / "MLmodel").write_text(text)
    gate = MLmodelReader().gate(tmp_path, Validation.STRICT)
    assert not gate.checked
    assert not gate.check(split("x")).refused


def test_example_of_the_model_comes_first(tmp_path: Path) -> None:
    own = split(1, 2, 3)
    assert MLmodelReader().example(model(tmp_path, column("long"), example=own)) == own
    assert MLmodelReader().example(model(tmp_path, example=own)) == own


@pytest.mark.parametrize(
    "kind", ["integer", "long", "float", "double", "string", "boolean", "datetime", "binary"]
)
def test_an_example_made_of_the_signature_passes_its_gate(tmp_path: Path, kind: str) -> None:
    path = model(tmp_path, column(kind), column("long", "b", required=False))
    verdict = MLmodelReader().gate(path, Validation.STRICT).check(MLmodelReader().example(path))
    assert not verdict.refused
    assert verdict.table is not None
    assert verdict.table.rows == 1


def test_example_is_missing_without_signature_and_example(tmp_path: Path) -> None:
    assert MLmodelReader().example(tmp_path) is None
    assert MLmodelReader().example(model(tmp_path)) is None
