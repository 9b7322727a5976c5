"""Real sessions, with published results to hold ours against: UCI Online Shoppers, 5-fold, no oversampling.

The best honest AUC in print is .937; above .94 one would suspect a leak.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from trimtab import runtime
from trimtab.steps import features, train, validate

DATA = os.environ.get("TRIMTAB_DATA_DIR", "")
FILE = Path(DATA) / "online_shoppers_intention.csv"


@pytest.mark.slow
@pytest.mark.skipif(
    not DATA or not FILE.is_file(), reason="TRIMTAB_DATA_DIR does not hold online_shoppers_intention.csv"
)
def test_five_folds_reach_what_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path))
    ports = runtime.load("local")
    checked = validate.run(validate.Config(data=str(FILE), spec="online_shoppers"), ports)
    features.run(features.Config(checked.snapshot_id), ports)
    result = train.run(train.Config(checked.snapshot_id, folds=5), ports)

    auc, loss = (
        {
            name: np.mean([getattr(score, metric) for score in result.folds if score.model == name])
            for name in ("plr_mlp", "logistic", "lightgbm", "constant")
        }
        for metric in ("auc", "log_loss")
    )
    assert 0.930 <= auc["plr_mlp"] < 0.94
    assert 0.925 <= auc["lightgbm"] < 0.94
    assert 0.90 < auc["logistic"] < 0.925
    assert loss["plr_mlp"] < loss["logistic"] < loss["constant"]
    assert "PageValues" in {finding.column for finding in checked.findings}
    losses = {
        result.evaluation.model: result.evaluation.metrics,
        **result.evaluation.baselines,
    }
    assert result.evaluation.winner == min(losses, key=lambda name: losses[name]["log_loss"].estimate)
