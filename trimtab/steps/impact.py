"""Ask a trained model what each controllable KPI is worth, and hold the answer against the truth where it is known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from trimtab.errors import BadInput, NotFound
from trimtab.impact.agreement import FEWEST_KPIS, Agreement, rank_agreement
from trimtab.impact.study import ImpactStudy
from trimtab.impact.whatif import SESSIONS, study_impact
from trimtab.models.bundle import ConversionModel
from trimtab.models.split import split_rows
from trimtab.ports import Ports
from trimtab.sessions.simulator.dataset import ORACLE_FILE
from trimtab.sessions.simulator.truth import Truth, weighted_auc
from trimtab.sessions.spec import DatasetSpec
from trimtab.steps.train import training_frame

STAGE = "impact"


@dataclass(frozen=True, slots=True)
class Config:
    """What to ask.

    Attributes:
        snapshot_id: The snapshot that the model was trained on, with its features computed.
        bundle: Folder of the model.
        seed: Seed of the sample and the resamples.
        truth: The simulator's truth file; empty where there is none.
        sessions: Held-out sessions to draw, half converted; fewer where there are not so many.
    """

    snapshot_id: str
    bundle: str
    seed: int = 7
    truth: str = ""
    sessions: int = SESSIONS


@dataclass(frozen=True, slots=True)
class Result:
    """What the model answered.

    Attributes:
        snapshot_id: The snapshot.
        bundle: Folder of the model.
        study: KPIs, ranked; association, not cause.
        agreement: Agreement with the true direct effects; None where no truth was given or too few KPIs are known.
        bayes_auc: AUC of the true probabilities on the held-out sessions; None where they are not known.
    """

    snapshot_id: str
    bundle: str
    study: ImpactStudy
    agreement: Agreement | None = None
    bayes_auc: float | None = None


def run(config: Config, ports: Ports) -> Result:
    """Improve each KPI alone on held-out sessions and rank the KPIs by what the model predicts.

    Raises:
        NotFound: The snapshot, its features, the model or the truth file does not exist.
        BadInput: The held-out sessions are too few, or the truth file is not one.
    """
    model = ConversionModel.load(Path(config.bundle))
    frame, spec = training_frame(config.snapshot_id, ports)
    # The model knows which seed split its rows; with another one the sessions would not be held out.
    split_seed = int(model.manifest.notes.get("seed", config.seed))
    test = frame.iloc[split_rows(frame, spec, rng=np.random.default_rng(split_seed)).test]
    ports.progress(STAGE, 0, 1, "asking the model")
    study = study_impact(
        test,
        spec,
        model.predict,
        threshold=model.threshold,
        rng=np.random.default_rng([config.seed, 6]),
        sessions=config.sessions,
    )
    ports.progress(STAGE, 1, 1)
    if not config.truth:
        return Result(config.snapshot_id, config.bundle, study)
    truth = read_truth(Path(config.truth))
    best = held_out_bayes_auc(test, spec, Path(config.truth).with_name(ORACLE_FILE))
    return Result(config.snapshot_id, config.bundle, study, agree(study, truth), best)


def read_truth(path: Path) -> Truth:
    """Read what the simulator wrote beside its sessions.

    Raises:
        NotFound: There is no such file.
        BadInput: The file is not a truth file.
    """
    if not path.is_file():
        raise NotFound(f"truth file '{path}' does not exist.", remedy="Name the truth.json of a simulation.")
    try:
        return TypeAdapter(Truth).validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "file"
        raise BadInput(
            f"truth file '{path}': {where}: {problem['msg']}.", remedy="Name the truth.json of a simulation."
        ) from error


def held_out_bayes_auc(test: pd.DataFrame, spec: DatasetSpec, oracle: Path) -> float | None:
    """AUC of the true probabilities on the very sessions that the model is judged on.

    Args:
        test: The held-out sessions.
        spec: Their spec.
        oracle: The simulator's file of true probabilities per session.

    Returns:
        The AUC; None without an id column or file, or where a session is not in it.
    """
    if spec.id is None or not oracle.is_file():
        return None
    known = pd.read_parquet(oracle, columns=["session_id", "p_actual"]).set_index("session_id")["p_actual"]
    probability = known.reindex(test[spec.id]).to_numpy(dtype=np.float64)
    if np.isnan(probability).any():
        return None
    auc = weighted_auc(probability, positive=test[spec.label].to_numpy(dtype=np.float64))
    return auc if np.isfinite(auc) else None


def agree(study: ImpactStudy, truth: Truth) -> Agreement | None:
    """Compare predicted with true direct effects at the largest level, both relative to expected conversions."""
    predicted = {impact.kpi: impact.largest.population.relative.estimate for impact in study.kpis}
    level = f"{study.kpis[0].largest.level:.0%}" if study.kpis else ""
    direct = {
        effect.kpi: effect.direct[level] / truth.conversion_rate
        for effect in truth.effects
        if effect.kpi in predicted and level in effect.direct
    }
    return rank_agreement(predicted, direct, confidence=study.confidence) if len(direct) >= FEWEST_KPIS else None
