"""The published LCP quantiles are those of the measured histograms."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.sessions.simulator.calibration import LCP_QUANTILES_MS, QUANTILE_LEVELS, SOURCE_WINDOW

FILE = "rum_archive_lcp_histograms.csv.gz"


@pytest.fixture(scope="module")
def histograms() -> pd.DataFrame:
    folder = os.environ.get("TRIMTAB_DATA_DIR")
    if not folder:
        pytest.skip("TRIMTAB_DATA_DIR does not name the folder with the measured histograms")
    frame = pd.read_csv(Path(folder) / FILE)
    return frame[frame["date"].between(*SOURCE_WINDOW) & (frame["visibilitystate"] == "visible")]


@pytest.mark.parametrize("device", list(LCP_QUANTILES_MS))
def test_the_constants_are_the_quantiles_of_the_file(histograms: pd.DataFrame, device: str) -> None:
    buckets = (
        histograms[histograms["device"].str.lower() == device]
        .groupby("bucket")
        .agg(count=("lcp_count", "sum"), mean=("bucket_mean_lcp_ms", "mean"))
        .sort_index()
    )
    shares = buckets["count"].cumsum() / buckets["count"].sum()
    measured = np.interp(QUANTILE_LEVELS, shares, buckets["mean"])
    np.testing.assert_allclose(LCP_QUANTILES_MS[device], measured, atol=0.51)
