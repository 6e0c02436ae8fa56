"""The signature of a candidate is checked against what callers send, before any caller meets it."""

from typing import Any

import aiohttp
import pytest

from model_deployment.core.options import Options, Validation
from model_deployment.core.rollout_policy import Checks
from model_deployment.documents.base import Collection
from model_deployment.endpoints.findings import CandidateFinding, Outcome
from model_deployment.endpoints.replay.candidate_check import check_candidate
from model_deployment.endpoints.replay.examined_version import ExaminedVersion
from tests.support.examined import captured, version
from tests.support.gates import column
from tests.support.memory_documents import MemoryDocuments

CHAMPION = version(column("long", "age"), column("double", "bp", required=False), number=3)
REQUESTS = [
    {"inputs": [{"age": age, **({"bp": 1.5} if age % 4 == 0 else {})}]} for age in range(40)
]


async def signature(
    candidate: ExaminedVersion, *bodies: Any, champion: ExaminedVersion | None = CHAMPION
) -> CandidateFinding:
    store = MemoryDocuments()
    if champion is not None:
        store.kept[Collection.CAPTURES] += [
            captured(champion, body, id=str(place)) for place, body in enumerate(bodies)
        ]
    async with aiohttp.ClientSession() as session:
        return await check_candidate(
            candidate, champion, Checks(example=False), store.store, session, timeout=1
        )


async def test_a_newly_required_column_is_named() -> None:
    candidate = version(column("long", "age"), column("double", "bmi"), number=4)
    found = await signature(candidate, *REQUESTS[1:4])
    assert found.outcome is Outcome.FAILED
    assert found.reason == (
        "version 4 requires the column bmi, which 3 of 3 captured requests do not have"
    )
    assert found.figures["signature"]["columns"] == [
        {"column": "bmi", "kind": "missing", "requests": 3}
    ]


async def test_columns_that_are_refused_are_told_the_most_frequent_first() -> None:
    candidate = version(column("long", "age"), column("long", "bmi"), number=4)
    found = await signature(candidate, *REQUESTS)
    assert found.reason == (
        "version 4 requires the column bmi, which 40 of 40 captured requests do not have; it does not "
        "take the column bp, which 10 of 40 captured requests have"
    )


@pytest.mark.parametrize("number", [3, 3.0])
async def test_whole_numbers_of_a_column_of_floats_fit_a_column_of_whole_numbers(
    number: float,
) -> None:
    champion = version(column("double", "age"), number=3)
    candidate = version(column("long", "age"), number=4)
    found = await signature(candidate, {"inputs": [{"age": number}]}, champion=champion)
    assert found.outcome is Outcome.PASSED
    assert found.reason.endswith("1 of them only where whole numbers are sent as 3, not as 3.0")
    broken = await signature(candidate, {"inputs": [{"age": 3.5}]}, champion=champion)
    assert broken.outcome is Outcome.FAILED


async def test_another_type_is_told_without_the_values_of_callers() -> None:
    candidate = version(column("boolean", "age"), column("double", "bp", required=False), number=4)
    found = await signature(candidate, {"inputs": [{"age": 7}]})
    assert found.outcome is Outcome.FAILED
    assert found.reason.startswith("version 4 expects in the column age ")
    assert "7" not in found.reason


@pytest.mark.parametrize(
    "candidate",
    [
        version(column("long", "age"), column("double", "bp", required=False), number=4),
        version(column("double", "age"), column("double", "bp", required=False), number=4),
        version(number=4),
        version(column("long", "bmi"), number=4, options=Options(validation=Validation.OBSERVE)),
    ],
    ids=["same", "wider", "none", "observing"],
)
async def test_a_signature_that_accepts_all_passes(candidate: ExaminedVersion) -> None:
    found = await signature(candidate, *REQUESTS)
    assert found.outcome is Outcome.PASSED
    assert found.reason == "its signature accepts 40 captured requests of version 3"


async def test_what_cannot_be_sent_again_is_said() -> None:
    candidate = version(column("long", "age"), column("double", "bp", required=False), number=4)
    found = await signature(candidate, REQUESTS[1], {"messages": []})
    assert found.outcome is Outcome.PASSED
    assert "1 of 2 captured requests cannot be sent again" in found.reason


async def test_without_captured_requests_nothing_is_known() -> None:
    candidate = version(column("long", "age"), number=4)
    found = await signature(candidate)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "version 3 has no captured requests" in found.reason
    hidden = version(column("long", "age"), number=3, options=Options(capture_hash=("age",)))
    found = await signature(candidate, *REQUESTS[:5], champion=hidden)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "without the values of some columns (age); take these columns out of" in found.reason


async def test_the_first_version_has_nothing_to_fit_to() -> None:
    found = await signature(version(column("long", "age"), number=4), champion=None)
    assert found.outcome is Outcome.PASSED
