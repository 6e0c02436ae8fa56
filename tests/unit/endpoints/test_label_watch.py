"""Labels of both versions become the losses that the quality guard reads."""

from datetime import UTC, datetime, timedelta
from typing import Any

from model_deployment.core.names import ModelKey
from model_deployment.documents.base import Collection
from model_deployment.endpoints.guards.label_watch import LabelWatch, labelled_losses
from model_deployment.endpoints.guards.labelled_losses import LabelledLosses
from tests.support.endpoint_views import endpoint, rollout
from tests.support.memory_documents import MemoryDocuments
from tests.support.waiting import until

BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
CHAMPION, CANDIDATE = ModelKey("m", 1), ModelKey("m", 2)


class Store(MemoryDocuments):
    """Answers with labels."""

    async def opened(self) -> Any:
        return self.store

    def answer(self, key: ModelKey, id: str, at: float, said: list[Any], labels: list[Any]) -> None:
        """An answer some minutes after the rollout began, or before it; labels come a day later."""
        ts = BEGAN + timedelta(minutes=at)
        common = {"model": key.model, "version": key.version, "request_id": id}
        self.kept[Collection.CAPTURES].append(
            common | {"_id": f"{key}/{id}", "ts": ts, "predictions": said}
        )
        self.kept[Collection.LABELS] += [
            common
            | {"_id": f"{key}/{id}#{row}", "ts": ts + timedelta(days=1), "row": row, "label": label}
            for row, label in enumerate(labels)
        ]

    def before(self, answers: int = 120) -> None:
        """The champion is off by 1 to 10."""
        for place in range(answers):
            label = place + 0.5
            self.answer(CHAMPION, f"b{place}", -answers + place, [label + 1 + place % 10], [label])


async def losses(store: Store, bound: float | None = None) -> LabelledLosses | None:
    return await labelled_losses(store.store, CHAMPION, CANDIDATE, BEGAN, bound)


async def test_answers_are_counted_from_the_first_one_of_the_candidate_on() -> None:
    store = Store()
    store.before()
    store.answer(CHAMPION, "early", 1, [100.5], [0.5])
    store.answer(CANDIDATE, "first", 5, [1.5], [0.5])
    store.answer(CHAMPION, "c", 6, [10.0, 30.5], [0.5, 0.5])
    store.answer(CANDIDATE, "worse", 7, [50.0, None], [0.5, 0.5])
    store.answer(CANDIDATE, "without", 8, [0.5], [])
    found = await losses(store)
    assert found is not None
    assert found.bound == 10.0
    assert (found.champion_answers, found.champion_poor) == (1, 1)
    assert (found.candidate_answers, found.candidate_poor) == (2, 1)
    assert found.metric == "rmse"


async def test_the_bound_that_is_remembered_is_kept() -> None:
    store = Store()
    store.answer(CANDIDATE, "a", 5, [1.5], [0.5])
    store.answer(CHAMPION, "b", 6, [5.5], [0.5])
    assert await losses(store) is None
    found = await losses(store, bound=2.0)
    assert found is not None
    assert (found.champion_poor, found.candidate_poor, found.bound) == (1, 0, 2.0)


async def test_wrong_classes_are_poor() -> None:
    store = Store()
    for place in range(100):
        store.answer(CHAMPION, f"b{place}", -200 + place, ["a" if place % 9 else "b"], ["a"])
    store.answer(CANDIDATE, "right", 5, ["a"], ["a"])
    store.answer(CANDIDATE, "wrong", 6, ["b"], ["a"])
    found = await losses(store)
    assert found is not None
    assert (found.candidate_answers, found.candidate_poor) == (2, 1)
    assert found.metric == "error rate"


async def test_an_id_that_was_sent_twice_is_left_out() -> None:
    store = Store()
    store.before()
    store.answer(CANDIDATE, "twice", 5, [1.5], [0.5])
    store.answer(CANDIDATE, "twice", 6, [1.5], [0.5])
    found = await losses(store)
    assert found is not None
    assert found.candidate_answers == 0


async def test_the_watch_reads_in_the_background() -> None:
    store = Store()
    store.before()
    store.answer(CANDIDATE, "a", 5, [1.5], [0.5])
    watch = LabelWatch(store)
    one, other = endpoint(), rollout(champion=1, candidate=2, started_at=BEGAN)
    one = endpoint(type(one.name)("m", "champion"))
    assert watch.of(one, other) is None
    await until(lambda: watch.of(one, other), what="the labels")
    watch.forget(other.id)
    await watch.close()
