"""The engine on a small trained model: answers, history from a store, deadlines, new users, and what is counted."""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prometheus_client import CollectorRegistry

from serving.predictor.engine import INLINE_ROWS, Engine
from serving.predictor.history import History
from serving.predictor.metrics import Metrics
from tests.unit.serving.conftest import KEY, MakeEngine
from trimtab.errors import NotFound
from trimtab.models.bundle import ConversionModel
from trimtab.sessions.history import NEVER_SEEN
from trimtab.sessions.inputs import DAYS_SINCE_LAST, PRIOR_SESSIONS, history_features
from trimtab.sessions.privacy import pseudonym
from trimtab.sessions.spec import DatasetSpec
from trimtab.testing.shop import shop_spec

SPEC = shop_spec()
ROW: dict[str, Any] = {"lcp_ms": 1800.0, "api_ms": None, "device": "mobile"}


class Store:
    """An online store that remembers what it was asked; whoever is called `new...` it does not know."""

    def __init__(
        self, *, seconds: float = 0.0, error: Exception | None = None, versions: Sequence[int | None] = (None, 4)
    ) -> None:
        self.asked: list[tuple[list[str], list[datetime], int | None]] = []
        self._seconds = seconds
        self._error = error
        self._versions = versions

    def online(
        self,
        units: Sequence[str],
        spec: DatasetSpec,
        *,
        at: Sequence[datetime] | None = None,
        version: int | None = None,
    ) -> pd.DataFrame:
        time.sleep(self._seconds)
        return self._answer(units, spec, at, version)

    async def online_async(
        self,
        units: Sequence[str],
        spec: DatasetSpec,
        *,
        at: Sequence[datetime] | None = None,
        version: int | None = None,
    ) -> pd.DataFrame:
        await asyncio.sleep(self._seconds)
        return self._answer(units, spec, at, version)

    def _answer(
        self, units: Sequence[str], spec: DatasetSpec, at: Sequence[datetime] | None, version: int | None
    ) -> pd.DataFrame:
        if self._error:
            raise self._error
        if version not in self._versions:
            raise NotFound(f"no service of version {version}.")
        self.asked.append((list(units), list(at or []), version))
        known = pd.DataFrame({name: np.full(len(units), 3.0) for name in history_features(spec)})
        new = [unit in (pseudonym("new", KEY), "a unit that nobody has") for unit in units]
        known[new] = np.nan
        known.loc[new, list(NEVER_SEEN)] = list(NEVER_SEEN.values())
        known.loc[[unit == pseudonym("old", KEY) for unit in units], DAYS_SINCE_LAST] = 400.0
        return known


@pytest.fixture(params=[True, False], ids=["by a thread", "on the loop"])
def blocking(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class Served:
    """Makes engines over stores."""

    def __init__(self, make: MakeEngine, metrics: Metrics, *, blocking: bool) -> None:
        self._make = make
        self._metrics = metrics
        self._blocking = blocking

    def over(self, store: Store, deadline_seconds: float = 5.0) -> Engine:
        history = History(
            store,  # type: ignore[arg-type]
            SPEC,
            version=4,
            deadline_seconds=deadline_seconds,
            metrics=self._metrics,
            blocking=self._blocking,
        )
        return self._make(history=history)


@pytest.fixture
def served(make_engine: MakeEngine, metrics: Metrics, blocking: bool) -> Served:
    return Served(make_engine, metrics, blocking=blocking)


async def _ask(engine: Engine, *rows: dict[str, Any]) -> Any:
    return await engine.answer(engine.reader.instances({"instances": list(rows)}))


def _sample(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(f"trimtab_predictor_{name}", labels) or 0.0


@pytest.mark.parametrize("rows", [1, 2, INLINE_ROWS + 1])
def test_answers_as_the_model_does(rows: int, engine: Engine, model: ConversionModel) -> None:
    instances = [{**ROW, "lcp_ms": 500.0 + 90 * row} for row in range(rows)]
    answer = asyncio.run(_ask(engine, *instances))
    expected = model.act(pd.DataFrame(instances))
    np.testing.assert_allclose(answer.actions.probability, expected.probability, atol=1e-6)
    np.testing.assert_allclose(answer.actions.uplift, expected.uplift, atol=1e-6)
    assert answer.actions.act.tolist() == expected.act.tolist()
    assert set(answer.history) == {"absent"}


def test_fetches_history_by_pseudonym_and_time(served: Served) -> None:
    store = Store()
    known = pseudonym("ann", KEY)
    rows = [
        {**ROW, "user_id": "ann", "began": "2026-03-01T12:00:00+00:00"},
        {**ROW, "user_id": None, "began": None},
        {**ROW, "user_id": known, "began": None},
    ]
    answer = asyncio.run(_ask(served.over(store), *rows))
    ((units, times, version),) = store.asked
    assert (units, version) == ([known, known], 4)
    assert times[0].isoformat() == "2026-03-01T12:00:00+00:00"
    assert list(answer.history) == ["store", "absent", "store"]


def test_history_changes_the_answer_as_it_does_offline(served: Served, model: ConversionModel) -> None:
    answer = asyncio.run(_ask(served.over(Store()), {**ROW, "user_id": "ann"}, ROW))
    history = dict.fromkeys(history_features(SPEC), 3.0)
    offline = [model.act(pd.DataFrame([{**ROW, **more}])).probability[0] for more in (history, {})]
    np.testing.assert_allclose(answer.actions.probability, offline, atol=1e-6)


def test_a_new_user_is_flagged_and_gets_training_time_defaults(
    served: Served, model: ConversionModel, registry: CollectorRegistry
) -> None:
    answer = asyncio.run(_ask(served.over(Store()), {**ROW, "user_id": "new"}))
    assert list(answer.history) == ["new"]
    np.testing.assert_allclose(answer.actions.probability, model.act(pd.DataFrame([ROW])).probability, atol=1e-6)
    assert _sample(registry, "history_total", source="new") == 1


def test_counts_histories_that_are_old(served: Served, registry: CollectorRegistry) -> None:
    asyncio.run(_ask(served.over(Store()), {**ROW, "user_id": "old"}, {**ROW, "user_id": "ann"}))
    assert _sample(registry, "history_stale_total") == 1
    assert _sample(registry, "history_total", source="store") == 2


def test_prefers_the_history_that_the_request_carries(served: Served) -> None:
    store = Store()
    row = {**ROW, "user_id": "ann", **dict.fromkeys(history_features(SPEC), 2.0)}
    assert list(asyncio.run(_ask(served.over(store), row)).history) == ["request"]
    assert store.asked == []


FAILING = [(Store(error=RuntimeError("gone")), "gone", "failure"), (Store(seconds=0.5), "TimeoutError", "timeout")]


@pytest.mark.parametrize("failing", FAILING, ids=["fails", "slow"])
def test_answers_without_a_store_that_fails_or_is_slow(
    failing: tuple[Store, str, str], served: Served, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("kserve").propagate = True
    store, said, reason = failing
    engine = served.over(store, deadline_seconds=0.05)

    with caplog.at_level(logging.WARNING):
        answer = asyncio.run(_ask(engine, {**ROW, "user_id": "ann"}))
    assert list(answer.history) == ["absent"]
    assert said in caplog.text
    assert _sample(registry, "history_missing_total", reason=reason) == 1


def test_a_large_batch_is_given_more_time(served: Served) -> None:
    engine = served.over(Store(seconds=0.2), deadline_seconds=0.05)
    answer = asyncio.run(_ask(engine, *[{**ROW, "user_id": f"u{number}"} for number in range(100)]))
    assert set(answer.history) == {"store"}


def test_a_slow_store_does_not_hold_up_other_requests(served: Served) -> None:
    engine = served.over(Store(seconds=0.5))

    async def both() -> list[str]:
        order: list[str] = []

        async def ask(name: str, row: dict[str, Any]) -> None:
            await _ask(engine, row)
            order.append(name)

        await asyncio.gather(ask("slow", {**ROW, "user_id": "ann"}), ask("quick", ROW))
        return order

    assert asyncio.run(both()) == ["quick", "slow"]


def test_requests_at_once_share_a_read_and_each_gets_its_own(served: Served) -> None:
    store = Store(seconds=0.05)
    engine = served.over(store)

    async def ask() -> list[Any]:
        rows = [{**ROW, "user_id": "new" if number % 2 else f"u{number}"} for number in range(10)]
        return await asyncio.gather(*(_ask(engine, row) for row in rows))

    answers = asyncio.run(ask())
    assert [answer.history[0] for answer in answers] == ["store", "new"] * 5
    assert len(store.asked) < 10
    assert sum(len(units) for units, _, _ in store.asked) == 10


def test_who_was_answered_without_is_not_read_for(served: Served) -> None:
    store = Store(seconds=0.2)
    engine = served.over(store, deadline_seconds=0.03)

    async def ask() -> None:
        await asyncio.gather(*(_ask(engine, {**ROW, "user_id": f"u{number}"}) for number in range(3)))
        await asyncio.sleep(0.5)

    asyncio.run(ask())
    assert [len(units) for units, _, _ in store.asked] in ([3], [1])


def test_a_version_without_a_service_reads_by_the_specs(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("kserve").propagate = True
    store = Store(versions=(None,))
    engine = served.over(store)

    async def ask() -> Any:
        await engine.warm_up()
        return [await _ask(engine, {**ROW, "user_id": "ann"}) for _ in range(2)]

    with caplog.at_level(logging.WARNING):
        answers = asyncio.run(ask())
    assert [list(answer.history) for answer in answers] == [["store"]] * 2
    assert caplog.text.count("has no feature service") == 1


def test_warming_up_opens_the_store(served: Served) -> None:
    store = Store()
    asyncio.run(served.over(store).warm_up())
    assert [units for units, _, _ in store.asked] == [["a unit that nobody has"]]


def test_history_features_of_the_shop_are_those_the_tests_assume() -> None:
    assert {PRIOR_SESSIONS, DAYS_SINCE_LAST} <= set(history_features(SPEC))
