from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.errors import BadInput, NotFound
from trimtab.models.bundle import ConversionModel
from trimtab.sessions import batches
from trimtab.sessions.privacy import load_key, pseudonym
from trimtab.sessions.spec import dump_spec
from trimtab.steps import score
from trimtab.testing.ports import StepPorts
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec

SPEC = shop_spec()
ROWS = 500


@pytest.fixture
def ports(tmp_path: Path) -> StepPorts:
    rng = np.random.default_rng(1)
    bundle = shop_bundle(tmp_path / "model", shop_sessions(rng, SPEC), SPEC, rng=rng)
    (bundle / "spec.yaml").write_text(dump_spec(SPEC))
    found = StepPorts(tmp_path / "home")
    found.registry.put("shop", 3, bundle, "champion")
    return found


@pytest.fixture
def sessions() -> pd.DataFrame:
    """New sessions: nobody knows yet how they end."""
    frame = shop_sessions(np.random.default_rng(2), SPEC, rows=ROWS)
    frame["user_id"] = [f"user {number}" for number in range(ROWS)]
    return frame.drop(columns=["bought", "revenue", "lighter"])


def _config(tmp_path: Path, data: str) -> score.Config:
    return score.Config(data=data, model="shop", out=str(tmp_path / "out"), with_history=False)


def _score(ports: StepPorts, tmp_path: Path, data: pd.DataFrame) -> tuple[score.Result, pd.DataFrame]:
    path = tmp_path / "new.parquet"
    data.to_parquet(path)
    result = score.run(_config(tmp_path, str(path)), ports.as_ports())
    return result, pd.read_parquet(result.scores)


def test_says_of_each_row_what_the_model_says(ports: StepPorts, tmp_path: Path, sessions: pd.DataFrame) -> None:
    result, scores = _score(ports, tmp_path, sessions)
    expected = ConversionModel.load(tmp_path / "model").act(sessions)
    assert list(scores) == ["row", "unit", "probability", "uplift", "act", "version"]
    assert scores["row"].tolist() == list(range(1, ROWS + 1))
    np.testing.assert_allclose(scores["probability"], expected.probability, atol=1e-6, rtol=0)
    np.testing.assert_allclose(scores["uplift"], expected.uplift, atol=1e-6, rtol=0)
    assert (result.version, result.read, result.rows, result.rejected) == (3, ROWS, ROWS, 0)
    assert result.acts == scores["act"].sum()
    assert result.mean_probability == pytest.approx(scores["probability"].mean())
    assert set(scores["version"]) == {3}
    assert (result.history, result.quarantine) == ("absent", "")


def test_units_leave_as_pseudonyms(ports: StepPorts, tmp_path: Path, sessions: pd.DataFrame) -> None:
    known = "p-" + "0" * 19 + "7"
    sessions.loc[0, "user_id"] = known
    _, scores = _score(ports, tmp_path, sessions)
    assert scores["unit"][0] == known
    assert scores["unit"][1] == pseudonym("user 1", load_key(ports.home))
    _, unnamed = _score(ports, tmp_path, sessions.drop(columns="user_id"))
    assert "unit" not in unnamed


@pytest.mark.parametrize("rows", [1, 7, ROWS])
def test_batches_do_not_show(
    rows: int, ports: StepPorts, tmp_path: Path, sessions: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = sessions.head(40).copy()
    sessions.loc[[3, 21], "lcp_ms"] = [np.inf, np.nan]  # alone in a batch of one, and still only a row's fault
    _, whole = _score(ports, tmp_path, sessions)
    monkeypatch.setattr(batches, "ROWS", rows)
    result, scores = _score(ports, tmp_path, sessions)
    pd.testing.assert_frame_equal(scores, whole, atol=1e-6, rtol=0)
    assert result.rejected == 1 + (not SPEC.kpis["lcp_ms"].nullable)


def test_a_folder_is_one_data_set(ports: StepPorts, tmp_path: Path, sessions: pd.DataFrame) -> None:
    _, whole = _score(ports, tmp_path, sessions)
    folder = tmp_path / "set"
    folder.mkdir()
    sessions[:200].to_parquet(folder / "part-0.parquet")
    sessions[200:].to_parquet(folder / "part-1.parquet")
    result = score.run(_config(tmp_path, str(folder)), ports.as_ports())
    pd.testing.assert_frame_equal(pd.read_parquet(result.scores), whole)
    sessions.drop(columns="device").to_parquet(folder / "part-2.parquet")
    with pytest.raises(BadInput, match="other columns"):
        score.run(_config(tmp_path, str(folder)), ports.as_ports())


def test_a_csv_loses_no_line(ports: StepPorts, tmp_path: Path, sessions: pd.DataFrame) -> None:
    path = tmp_path / "new.csv"
    lines = sessions.to_csv(index=False).splitlines()
    lines[5] += ",one too many"
    width = len(sessions.columns)
    cells = lines[9].split(",")
    cells[list(sessions.columns).index("lcp_ms")] = "slow"
    lines[9] = ",".join(cells)
    path.write_text("\n".join(lines))
    result = score.run(_config(tmp_path, str(path)), ports.as_ports())
    rejected = pd.read_csv(result.quarantine)
    assert rejected["row"].tolist() == [6, 10]
    assert f"{width + 1} fields" in rejected["reasons"][0]
    assert "lcp_ms: 'slow' is not a number" in rejected["reasons"][1]
    scores = pd.read_parquet(result.scores)
    assert (result.read, result.rows, result.rejected) == (ROWS, ROWS - 2, 2)
    assert sorted([*scores["row"], *rejected["row"]]) == list(range(2, ROWS + 2))


def test_quarantine_names_nobody_and_goes_when_the_data_are_good(
    ports: StepPorts, tmp_path: Path, sessions: pd.DataFrame
) -> None:
    bad = sessions.assign(note="ann@example.org")
    bad.loc[4, "lcp_ms"] = np.inf
    result, _ = _score(ports, tmp_path, bad)
    text = Path(result.quarantine).read_text()
    assert "infinite" in text
    assert "user 4" not in text
    assert "ann@" not in text
    _score(ports, tmp_path, sessions)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [score.SCORES]


def test_too_many_bad_rows_leave_the_scores_of_before(ports: StepPorts, tmp_path: Path, sessions: pd.DataFrame) -> None:
    result, before = _score(ports, tmp_path, sessions)
    bad = sessions.assign(lcp_ms=np.where(np.arange(ROWS) % 2, np.inf, 1_000.0))
    with pytest.raises(BadInput, match="250 of the 500 rows"):
        _score(ports, tmp_path, bad)
    pd.testing.assert_frame_equal(pd.read_parquet(result.scores), before)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {score.SCORES, score.REJECTED}


def test_an_attribute_may_be_empty_throughout(ports: StepPorts, tmp_path: Path, sessions: pd.DataFrame) -> None:
    empty = sessions.assign(device=None)
    result, scores = _score(ports, tmp_path, empty)
    expected = ConversionModel.load(tmp_path / "model").act(empty)
    assert result.rows == ROWS
    np.testing.assert_allclose(scores["probability"], expected.probability, atol=1e-6, rtol=0)


def test_says_what_is_wrong(ports: StepPorts, tmp_path: Path, sessions: pd.DataFrame) -> None:
    with pytest.raises(BadInput, match="lcp_ms, device"):
        _score(ports, tmp_path, sessions.drop(columns=["lcp_ms", "device"]))
    with pytest.raises(BadInput, match="no rows"):
        _score(ports, tmp_path, sessions[:0])
    with pytest.raises(BadInput, match="there is no file"):
        score.run(_config(tmp_path, str(tmp_path / "absent.parquet")), ports.as_ports())
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no Parquet file"):
        score.run(_config(tmp_path, str(tmp_path / "empty")), ports.as_ports())
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        score.run(_config(tmp_path, str(tmp_path / "broken.parquet")), ports.as_ports())
    with pytest.raises(NotFound):
        score.run(score.Config(data="", model="other", out=""), ports.as_ports())
    (tmp_path / "model" / "spec.yaml").unlink()
    with pytest.raises(NotFound, match="spec that model"):
        _score(ports, tmp_path, sessions)


def test_another_spec_may_be_named(ports: StepPorts, tmp_path: Path, sessions: pd.DataFrame) -> None:
    (tmp_path / "model" / "spec.yaml").unlink()
    strict = SPEC.model_dump(mode="json")
    strict["quality"]["max_rejected_share"] = 0.0
    (tmp_path / "strict.yaml").write_text(dump_spec(type(SPEC).model_validate(strict)))
    data = tmp_path / "new.parquet"
    sessions.assign(lcp_ms=np.where(np.arange(ROWS) == 3, np.inf, 1_000.0)).to_parquet(data)
    config = replace(_config(tmp_path, str(data)), spec=str(tmp_path / "strict.yaml"))
    with pytest.raises(BadInput, match="1 of the 500 rows"):
        score.run(config, ports.as_ports())
    without = {name: column for name, column in SPEC.columns.items() if name != "device"}
    (tmp_path / "less.yaml").write_text(dump_spec(SPEC.model_copy(update={"columns": without})))
    with pytest.raises(BadInput, match="spec 'shop' lacks 1 of the model's 3 columns: device"):
        score.run(replace(config, spec=str(tmp_path / "less.yaml")), ports.as_ports())
