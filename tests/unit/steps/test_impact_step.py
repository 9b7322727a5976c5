from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest
from numpy.typing import NDArray

from trimtab import runtime
from trimtab.errors import BadInput, NotFound
from trimtab.impact.whatif import study_impact
from trimtab.models.bundle import ConversionModel
from trimtab.models.split import split_rows
from trimtab.sessions.simulator import WorldConfig, simulate, write
from trimtab.sessions.simulator.truth import Truth
from trimtab.sessions.spec import DatasetSpec, load_spec
from trimtab.steps import impact, train
from trimtab.steps.results import perform, recall

SPEC = DatasetSpec.model_validate(
    {
        "name": "tiny",
        "columns": {
            "bought": {"role": "label"},
            "lcp": {"role": "kpi", "direction": "lower", "layer": "frontend", "unit": "ms", "minimum": 0},
            "cache": {"role": "kpi", "direction": "higher", "layer": "backend", "minimum": 0, "maximum": 1},
            "device": {"role": "attribute"},
        },
    }
)


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> runtime.Runtime:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "home"))
    return runtime.load("local")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write(simulate(WorldConfig(sessions=3_000, seed=5)), folder)
    return folder


def _frame(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(
        {"lcp": rng.gamma(4, 600, rows), "cache": rng.uniform(size=rows), "device": rng.choice(["phone", "tv"], rows)}
    )
    odds = -0.5 - 0.001 * (frame["lcp"] - 2_400) + 0.5 * frame["cache"]
    frame["bought"] = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(int)
    return frame


def test_a_trained_model_says_what_its_kpis_are_worth(ports: runtime.Runtime) -> None:
    snapshot = ports.snapshots.put(_frame(3_000), SPEC, source="test", rejected=0)
    trained = train.run(train.Config(snapshot.id, kind="logistic", seed=3, resamples=20), ports)
    config = impact.Config(snapshot.id, trained.bundle, seed=9)
    result = perform(impact.run, config, ports, run="r", stage="impact")
    assert [kpi.kpi for kpi in result.study.kpis] == ["lcp", "cache"]
    assert result.study.kpis[0].largest.population.relative.low > 0
    # The rows are those that the model was not trained on, whatever the seed of this step.
    held_out = _frame(3_000).iloc[split_rows(_frame(3_000), SPEC, rng=np.random.default_rng(3)).test]
    model = ConversionModel.load(Path(trained.bundle))
    rng = np.random.default_rng([9, 6])
    assert result.study == study_impact(held_out, SPEC, model.predict, threshold=model.threshold, rng=rng)
    assert 300 < result.study.sessions <= 450
    assert (result.agreement, result.bayes_auc) == (None, None)
    assert recall(impact.Result, ports, run="r", stage="impact").result == result


def _true_model(truth: Truth) -> dict[str, float]:
    return {effect.kpi: effect.direct["8%"] / truth.conversion_rate for effect in truth.effects if effect.controllable}


def test_a_model_that_knows_the_truth_agrees_with_it(world: Path) -> None:
    truth = impact.read_truth(world / "truth.json")
    effects = _true_model(truth)
    spec, frame = load_spec("ux_sessions"), pd.read_parquet(world / "sessions.parquet")
    means = frame[list(effects)].mean()

    def predict(rows: pd.DataFrame) -> NDArray[np.float64]:
        # Log-linear in each KPI, with the true relative effect of an improvement by 8%.
        change = sum(
            effects[name] * ((1 - rows[name] / means[name]) / 0.08).fillna(0).clip(-1, 1)
            * (-1 if spec.kpis[name].direction == "higher" else 1)
            for name in effects
        )  # fmt: skip
        return np.asarray(0.1 * np.exp(0.1 * change))

    study = study_impact(frame, spec, predict, threshold=0.2, rng=np.random.default_rng(1), resamples=50)
    agreement = impact.agree(study, truth)
    assert agreement is not None
    assert agreement.truth == {kpi.kpi: effects[kpi.kpi] for kpi in study.kpis}
    assert agreement.spearman.estimate > 0.5


def test_the_best_possible_auc_is_that_of_the_held_out_sessions(world: Path) -> None:
    spec, frame = load_spec("ux_sessions"), pd.read_parquet(world / "sessions.parquet")
    test = frame.iloc[split_rows(frame, spec, rng=np.random.default_rng(0)).test]
    held_out = impact.held_out_bayes_auc(test, spec, world / "oracle.parquet")
    everything = impact.held_out_bayes_auc(frame, spec, world / "oracle.parquet")
    assert everything == pytest.approx(impact.read_truth(world / "truth.json").bayes_auc)
    assert held_out is not None
    assert held_out != everything
    assert 0.7 < held_out < 1


def test_sessions_that_the_oracle_does_not_know_have_no_best_possible_auc(world: Path) -> None:
    spec, frame = load_spec("ux_sessions"), pd.read_parquet(world / "sessions.parquet")
    stranger = frame.assign(session_id="x" + frame["session_id"])
    assert impact.held_out_bayes_auc(stranger, spec, world / "oracle.parquet") is None
    assert impact.held_out_bayes_auc(frame, spec, world / "absent.parquet") is None


def test_a_file_that_holds_no_truth_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    with pytest.raises(NotFound, match="does not exist"):
        impact.read_truth(path)
    path.write_bytes(orjson.dumps({"rows": 3}))
    with pytest.raises(BadInput, match=r"truth\.json': users: Field required"):
        impact.read_truth(path)
    path.write_text("no json")
    with pytest.raises(BadInput, match=r"Invalid JSON"):
        impact.read_truth(path)
