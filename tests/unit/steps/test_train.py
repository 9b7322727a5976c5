from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest
from pydantic import TypeAdapter

from trimtab import runtime
from trimtab.errors import BadInput, NotFound
from trimtab.models.bundle import ConversionModel
from trimtab.models.metrics import METRICS, weighted_metrics
from trimtab.models.split import split_rows
from trimtab.ports import Ports
from trimtab.steps import train, tune
from trimtab.testing.known_truth import Shop, make_shop

QUICK = train.Config("", epochs=3, resamples=40)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(1_500)


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Ports:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIMTAB_HOME", str(tmp_path_factory.mktemp("home")))
        return runtime.load("local")


@pytest.fixture(scope="module")
def snapshot(ports: Ports, shop: Shop) -> str:
    return ports.snapshots.put(shop.frame, shop.spec, source="made", rejected=0).id


@pytest.fixture(scope="module")
def result(ports: Ports, snapshot: str) -> train.Result:
    return train.run(replace(QUICK, snapshot_id=snapshot, folds=2), ports)


def test_the_bundle_answers_as_it_was_judged(result: train.Result, shop: Shop) -> None:
    model = ConversionModel.load(Path(result.bundle))
    rows = shop.frame.iloc[split_rows(shop.frame, shop.spec, rng=np.random.default_rng(7)).test]
    label = rows["converted"].to_numpy(dtype=float)
    again = weighted_metrics(model.predict(rows), label, threshold=model.threshold)
    for name in METRICS:
        assert result.evaluation.metrics[name].estimate == pytest.approx(float(again[name][0]), rel=1e-5)


def test_it_is_judged_beside_its_baselines(result: train.Result) -> None:
    evaluation = result.evaluation
    assert set(evaluation.baselines) == {"constant", "logistic", "lightgbm"}
    assert set(evaluation.log_loss_gap) == set(evaluation.baselines)
    assert evaluation.metrics["auc"].estimate > 0.65
    assert result.rows == {"train": 1_050, "validation": 225, "test": 225}
    assert result.split == "time"
    assert {score.model for score in result.folds} == {"plr_mlp", *evaluation.baselines}
    assert {score.fold for score in result.folds} == {1, 2}


def test_where_it_came_from_is_written_down(result: train.Result, snapshot: str) -> None:
    assert result.notes["snapshot"] == snapshot
    assert result.notes["seed"] == "7"
    assert result.notes["torch"]
    assert ConversionModel.load(Path(result.bundle)).manifest.notes == result.notes
    kept = TypeAdapter(train.Result).validate_json((Path(result.bundle) / train.EVALUATION).read_bytes())
    assert kept == result


def test_results_survive_json(result: train.Result) -> None:
    assert TypeAdapter(train.Result).validate_json(orjson.dumps(result)) == result


def test_equal_seeds_give_equal_models(ports: Ports, snapshot: str, result: train.Result, tmp_path: Path) -> None:
    again = train.run(replace(QUICK, snapshot_id=snapshot, out=str(tmp_path / "again")), ports)
    assert again.evaluation == result.evaluation
    assert Path(again.bundle) == tmp_path / "again"


def test_a_logistic_regression_is_the_simple_champion(ports: Ports, snapshot: str) -> None:
    simple = train.run(replace(QUICK, snapshot_id=snapshot, kind="logistic"), ports)
    assert ConversionModel.load(Path(simple.bundle)).kind == "logistic"
    assert set(simple.evaluation.baselines) == {"constant"}
    assert simple.evaluation.winner == "logistic"
    assert simple.epochs == 0


def test_tuned_parameters_are_used(ports: Ports, snapshot: str, tmp_path: Path) -> None:
    found = tune.run(tune.Config(snapshot, trials=2, max_epochs=2, max_rows=300), ports)
    assert TypeAdapter(tune.Result).validate_json(orjson.dumps(found)) == found
    tuned = train.run(replace(QUICK, snapshot_id=snapshot, study=found.study, out=str(tmp_path / "tuned")), ports)
    assert {name: tuned.params[name] for name in found.best_params} == found.best_params


def test_workers_of_one_search_meet_in_one_study(snapshot: str) -> None:
    first, second = (tune.Config(snapshot, trials=4, worker=worker, workers=2) for worker in (0, 1))
    assert tune.study_name(first) == tune.study_name(second)
    assert tune.study_name(first) != tune.study_name(replace(first, seed=8))


def test_history_must_be_computed_first(ports: Ports, shop: Shop) -> None:
    columns = {**shop.spec.model_dump(mode="json")["columns"], "user": {"role": "unit"}}
    spec = type(shop.spec).model_validate({"name": "units", "columns": columns})
    frame = shop.frame.assign(user=[f"u{row % 50}" for row in range(len(shop.frame))])
    identifier = ports.snapshots.put(frame, spec, source="made", rejected=0).id
    with pytest.raises(NotFound, match="features"):
        train.run(train.Config(identifier), ports)


def test_what_does_not_exist_is_named(ports: Ports, snapshot: str) -> None:
    with pytest.raises(NotFound, match="no-study"):
        train.run(replace(QUICK, snapshot_id=snapshot, study="no-study"), ports)
    with pytest.raises(BadInput, match="hpu"):
        train.run(replace(QUICK, snapshot_id=snapshot, device="hpu"), ports)


def test_a_late_single_class_is_refused(ports: Ports, shop: Shop) -> None:
    frame = shop.frame.assign(converted=np.where(np.arange(len(shop.frame)) < 1_000, shop.frame["converted"], 0))
    identifier = ports.snapshots.put(pd.DataFrame(frame), shop.spec, source="made", rejected=0).id
    with pytest.raises(BadInput, match="one class"):
        train.run(replace(QUICK, snapshot_id=identifier), ports)
