"""Evidently as the drift reporter: distances with declared thresholds, so that a result does not jump with sample size.

Evidently's own choice of test switches at 1,000 reference rows, and p-values shrink with every row added. Distances do
neither: the Wasserstein distance in standard deviations of the reference for numbers, the Jensen-Shannon distance
for categories. A threshold is never below what two samples of one population show, which depends on how many values a
column has and, for categories, on how many there are. Both sides are sampled to a bounded
number of rows, which bounds time and the size of the page as well.
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import ValueDrift
from scipy.stats import chi2, norm

from trimtab.errors import BadInput
from trimtab.monitoring.drift import PREDICTION, ColumnDrift, DriftReport
from trimtab.monitoring.health import is_numeric, watched_columns
from trimtab.sessions.spec import DatasetSpec

NUMERIC_METHOD = "wasserstein"
CATEGORICAL_METHOD = "jensenshannon"
_METHOD_NAMES = {NUMERIC_METHOD: "normed Wasserstein distance", CATEGORICAL_METHOD: "Jensen-Shannon distance"}
_MISSING = "(missing)"
_MIN_ROWS = 30


class EvidentlyDriftReporter:
    """Compares two sets of sessions; satisfies `trimtab.ports.DriftReporter`.

    Args:
        threshold: Distance from which a column counts as drifted: a tenth of a standard deviation for numbers. For a
            number with fewer than 1,800 values a side, or a great many categories, it is higher, because chance alone
            then shows as much.
        max_rows: Rows that are compared from each side, drawn at random.
        seed: Seed of that draw; equal inputs give an equal report.
    """

    def __init__(self, *, threshold: float = 0.1, max_rows: int = 5_000, seed: int = 0) -> None:
        self._threshold = threshold
        self._max_rows = max_rows
        self._seed = seed

    def compare(self, reference: pd.DataFrame, current: pd.DataFrame, spec: DatasetSpec, *, page: Path) -> DriftReport:
        """Score each watched column that both sides have 30 values or more of, and write a self-contained HTML page.

        Args:
            reference: Sessions that the model was trained on.
            current: New sessions. Where both sides have a column `predicted_probability`, it is compared too.
            spec: Spec of both.
            page: Where the page goes.

        Raises:
            BadInput: A side has fewer than 30 rows, or no column can be compared.
        """
        for name, frame in (("reference", reference), ("current", current)):
            if len(frame) < _MIN_ROWS:
                raise BadInput(f"the {name} sessions have {len(frame)} rows; drift needs {_MIN_ROWS} or more.")
        names = [name for name in (*watched_columns(spec), PREDICTION) if _has_values(reference, current, name)]
        if not names:
            raise BadInput("no column has values on both sides.", remedy="Compare sessions of one spec.")
        numeric = [name for name in names if is_numeric(name, spec)]
        definition = DataDefinition(
            numerical_columns=numeric, categorical_columns=[name for name in names if name not in numeric]
        )
        rng = np.random.default_rng(self._seed)
        now, before = (_prepare(_sample(frame[names], self._max_rows, rng), numeric) for frame in (current, reference))
        sides = [Dataset.from_pandas(side, definition) for side in (now, before)]
        methods = {name: NUMERIC_METHOD if name in numeric else CATEGORICAL_METHOD for name in names}
        noise = {name: (_noise_of_numbers if name in numeric else _noise_of_categories) for name in names}
        thresholds = {name: max(self._threshold, noise[name](before[name], now[name])) for name in names}
        metrics = [ValueDrift(column=name, method=methods[name], threshold=thresholds[name]) for name in names]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Constant columns make its plots divide by zero.
            snapshot = Report(metrics).run(*sides)
            html = snapshot.get_html_str(as_iframe=False)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(html, encoding="utf-8")
        values = [float(metric["value"]) for metric in snapshot.dict()["metrics"]]
        columns = [
            ColumnDrift(name, _METHOD_NAMES[methods[name]], value, thresholds[name], value >= thresholds[name])
            for name, value in zip(names, values, strict=True)
        ]
        columns.sort(key=lambda column: (-column.score, column.column))
        return DriftReport(tuple(columns), len(reference), len(current), str(page))


def _has_values(reference: pd.DataFrame, current: pd.DataFrame, name: str) -> bool:
    return all(name in side and side[name].notna().sum() >= _MIN_ROWS for side in (reference, current))


def _noise_of_numbers(before: pd.Series, now: pd.Series) -> float:
    """Three standard errors of the difference of two means, in standard deviations: what chance alone may show.

    The Wasserstein distance is at least the distance of the means, and little more for samples of one population.
    """
    return float(3.0 * np.sqrt(1 / before.count() + 1 / now.count()))


def _noise_of_categories(before: pd.Series, now: pd.Series) -> float:
    """What chance alone exceeds as seldom as a normal value exceeds three standard deviations.

    For samples of n and m rows of one population over k categories, 8 n m / (n + m) times the squared Jensen-Shannon
    distance (natural logarithms) is nearly chi-squared with k - 1 degrees of freedom.
    """
    freedom = max(1, len(set(before.unique()) | set(now.unique())) - 1)
    return float(np.sqrt(chi2.isf(norm.sf(3.0), freedom) / 8 * (1 / len(before) + 1 / len(now))))


def _sample(frame: pd.DataFrame, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    if len(frame) <= rows:
        return frame
    return frame.iloc[np.sort(rng.choice(len(frame), rows, replace=False))]


def _prepare(frame: pd.DataFrame, numeric: list[str]) -> pd.DataFrame:
    """Numbers as floats; a missing category is a category, so that a change in how many are missing shows."""
    columns = {
        name: frame[name].astype(np.float64)
        if name in numeric
        else frame[name].astype(object).fillna(_MISSING).astype(str)
        for name in frame
    }
    return pd.DataFrame(columns)
