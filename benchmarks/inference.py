"""Answering: `trimtab.models.lean` against the same network in torch, eager, compiled and quantised, in one run.

    python -m benchmarks.inference

Each side gets the same encoded rows of 45 KPIs, three categories and a treatment, and says for each row what a server
says: the probability without the action and what the action adds. Both run on one thread and are timed in CPU seconds;
the least of many rounds counts, the sides by turns, so that what else the machine does hurts neither. How far the
probabilities are from the eager network's is printed beside the times: a faster way that answers differently is none.
The compiled network needs a C++ compiler, and is left out where there is none.
"""

import copy
import shutil
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from trimtab.models.architecture import InputShape, NetworkOptions
from trimtab.models.bundle import ConversionModel
from trimtab.models.calibrate import Calibration
from trimtab.models.devices import place
from trimtab.models.encode import Codes, Encoder, Floats
from trimtab.models.fit import FitOptions, Rows, fit, seeded
from trimtab.models.lean import LeanModel
from trimtab.models.manifest import Actions, Manifest
from trimtab.models.networks import build_network
from trimtab.models.preprocess import learn_preprocessor
from trimtab.sessions.inputs import ModelInputs

KPIS, CARDINALITIES = 45, (4, 6, 10)
TRAINING_ROWS = 20_000
ROWS = (1, 10, 50, 1_000)
ROUNDS, ROUND_SECONDS = 30, 0.02

Answer = Callable[[Floats, Codes], Actions]


def main() -> list[dict[str, Any]]:
    with place("cpu").limited():
        model, numeric, codes = _trained()
        ways: dict[str, Answer] = {"eager": model.act_arrays, "lean": LeanModel.of(model).act_arrays}
        ways["int8"] = _quantised(model).act_arrays
        if shutil.which("c++"):
            ways["compiled"] = _compiled(model).act_arrays
        differences = {name: _difference(ways["eager"], way, numeric, codes) for name, way in ways.items()}
        results = []
        for rows in ROWS:
            seconds = _timed(ways, numeric[:rows], codes[:rows])
            for name, took in seconds.items():
                print(f"{rows:>5} rows {name:<9}{1e6 * took:>9.1f} us, off by at most {differences[name]:.1e}")
            others = {name: took for name, took in seconds.items() if name != "lean"}
            results += [_result(rows, name, seconds["lean"], took) for name, took in others.items()]
    return results


def _trained() -> tuple[ConversionModel, Floats, Codes]:
    """A network of the default size after an epoch of training, and rows to ask it about."""
    rng = np.random.default_rng(0)
    numeric = rng.gamma(1.5, 1_000, (TRAINING_ROWS, KPIS)).astype(np.float32)
    numeric[(rng.random(numeric.shape) < 0.05) & (np.arange(KPIS) % 3 == 0)] = np.nan
    numeric = np.column_stack([numeric, rng.integers(0, 2, TRAINING_ROWS)]).astype(np.float32)
    codes = np.column_stack([rng.integers(0, size, TRAINING_ROWS) for size in CARDINALITIES])
    logit = 1 - numeric[:, 1] / 1_500 + numeric[:, 2] / 3_000 * numeric[:, -1]
    label = (rng.random(TRAINING_ROWS) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    preprocessor = learn_preprocessor(numeric)
    shape = InputShape(numeric.shape[1], len(preprocessor.flagged), CARDINALITIES)
    with seeded(rng):
        network = build_network(shape, NetworkOptions())
    with torch.inference_mode():
        values = preprocessor(torch.from_numpy(numeric))
    rows = Rows(values.clone(), torch.from_numpy(codes), torch.from_numpy(label))
    fit(network, rows, rows, options=FitOptions(epochs=1, patience=1), placement=place("cpu"), rng=rng)
    return ConversionModel(_manifest(shape, preprocessor.knots), preprocessor, network), numeric, codes


def _manifest(shape: InputShape, knots: int) -> Manifest:
    names = tuple(f"kpi_{place}" for place in range(KPIS))
    vocabularies = {
        f"category_{place}": tuple(map(str, range(size - 1))) for place, size in enumerate(shape.cardinalities)
    }
    return Manifest(
        name="benchmark",
        kind="plr_mlp",
        encoder=Encoder(ModelInputs(names, tuple(vocabularies), (), "treated"), vocabularies, {}),
        shape=shape,
        options=NetworkOptions(),
        knots=knots,
        calibration=Calibration(),
        threshold=0.5,
        action_cost=0.0,
        notes={},
    )


def _quantised(model: ConversionModel) -> ConversionModel:
    """Its linear layers in int8, each batch quantised as it comes."""
    network = copy.deepcopy(model.network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that this interface will move
        torch.ao.quantization.quantize_dynamic(network.hidden, {nn.Linear}, dtype=torch.qint8, inplace=True)
    return ConversionModel(model.manifest, model.preprocessor, network)


def _compiled(model: ConversionModel) -> ConversionModel:
    """Preprocessing and network compiled by inductor for any number of rows."""
    network = torch.compile(copy.deepcopy(model.network), dynamic=True)
    preprocessor = torch.compile(copy.deepcopy(model.preprocessor), dynamic=True)
    return ConversionModel(model.manifest, preprocessor, network)


def _difference(theirs: Answer, ours: Answer, numeric: Floats, codes: Codes) -> float:
    """Largest difference of a probability, with or without the action."""
    expected, found = theirs(numeric, codes), ours(numeric, codes)
    treated = np.abs((found.probability + found.uplift) - (expected.probability + expected.uplift)).max()
    return float(max(np.abs(found.probability - expected.probability).max(), treated))


def _timed(ways: dict[str, Answer], numeric: Floats, codes: Codes) -> dict[str, float]:
    """CPU seconds of one call, the least of many rounds."""
    best = dict.fromkeys(ways, np.inf)
    calls = {name: _calls(way, numeric, codes) for name, way in ways.items()}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.process_time()
            for _ in range(calls[name]):
                way(numeric, codes)
            best[name] = min(best[name], (time.process_time() - started) / calls[name])
    return best


def _calls(way: Answer, numeric: Floats, codes: Codes) -> int:
    """How many calls fill a round."""
    started = time.process_time()
    for _ in range(5):
        way(numeric, codes)
    return max(1, round(ROUND_SECONDS / ((time.process_time() - started) / 5 + 1e-9)))


def _result(rows: int, name: str, ours: float, theirs: float) -> dict[str, Any]:
    return {
        "name": f"Answering {rows:,} row{'s' if rows > 1 else ''} x {KPIS} KPIs, lean against {name}",
        "ours": round(1e6 * ours, 1),
        "theirs": round(1e6 * theirs, 1),
        "theirs_is": f"the same network in torch, {name}",
        "unit": "CPU us",
        "ratio": round(theirs / ours, 2),
    }


if __name__ == "__main__":
    main()
