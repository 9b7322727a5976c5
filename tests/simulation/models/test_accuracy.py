"""The main model against what nobody has with real data: the best that any model could do."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from trimtab import runtime
from trimtab.models.bundle import ConversionModel
from trimtab.models.split import split_rows
from trimtab.sessions.simulator.dataset import ORACLE_FILE
from trimtab.steps import features, simulate, train, validate


@pytest.mark.slow
def test_the_model_comes_close_to_bayes_and_is_not_behind_lightgbm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "home"))
    ports = runtime.load("local")
    made = simulate.run(simulate.Config(out=str(tmp_path / "shop"), sessions=80_000), ports)
    snapshot = validate.run(validate.Config(data=made.data, spec="ux_sessions"), ports).snapshot_id
    features.run(features.Config(snapshot), ports)
    result = train.run(train.Config(snapshot), ports)

    frame, spec = train.training_frame(snapshot, ports)
    test = frame.iloc[split_rows(frame, spec, rng=np.random.default_rng(7)).test]
    oracle = pd.read_parquet(tmp_path / "shop" / ORACLE_FILE)
    sessions = pd.read_parquet(made.data)
    truth = oracle.set_index(sessions["session_id"].to_numpy()).loc[test["session_id"]]
    label = test[spec.label].to_numpy()
    bayes = roc_auc_score(label, truth["p_actual"])
    ours, trees = result.evaluation.metrics, result.evaluation.baselines["lightgbm"]

    assert ours["auc"].estimate > bayes - 0.006
    assert ours["log_loss"].estimate <= trees["log_loss"].estimate
    assert ours["log_loss"].estimate < log_loss(label, truth["p_actual"]) + 0.005
    assert ours["calibration_error"].low < 0.005
    assert result.evaluation.winner == "plr_mlp"

    model = ConversionModel.load(Path(result.bundle))
    true_uplift = (truth["p_treated"] - truth["p_control"]).to_numpy()
    actions = model.act(test)
    gained = true_uplift[actions.act].sum()
    assert gained > max(0.0, true_uplift.sum())  # picking sessions beats acting on none and on all
