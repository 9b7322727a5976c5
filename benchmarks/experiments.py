"""Three metrics of an A/B test from zstd Parquet: ours against tea-tasting, in time and in memory.

    python -m benchmarks.experiments [ROWS]

A binary metric, a mean with CUPED and a ratio, from one row per unit to estimates, intervals and p-values. Every
measurement is a process of its own, so that its peak memory (imports included) is its own; time excludes imports and is
the least of three. tea-tasting runs over Ibis with DuckDB and over whichever of its backends is the fastest here. Both
sides compute the same statistics; ours checks values for gaps and extremes on the way.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

REPEATS = 3
BACKENDS = ("ibis", "duckdb", "pyarrow", "pandas")
SEGMENTS = 50
_DATA = """
    copy (
        select i as unit,
               case when hash(i) % 2 = 0 then 'A' else 'B' end as variant,
               (hash(i * 7) % 100 < 10 + hash(i) % 2)::integer as converted,
               round(random() * 10, 2) as spent_before,
               round(random() * 5 + (hash(i) % 7), 2) as revenue,
               (hash(i * 3) % 9 + 1)::integer as views,
               (hash(i * 5) % 4)::integer as clicks,
               's' || (hash(i * 11) % {segments}) as segment
        from range({rows}) t(i)
    ) to '{path}' (format parquet, compression zstd)
"""


def main(rows: int = 10_000_000) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        sizes = {size: _written(Path(folder), size) for size in (rows // 10, rows, 3 * rows)}
        fastest = min(BACKENDS, key=lambda backend: _measured(sizes[rows // 10], backend)["seconds"])
        found = {
            (size, side): _measured(path, side)
            for size, path in sizes.items()
            for side in dict.fromkeys(("ours", "ibis", fastest))
        }
        segments, whole = _measured(sizes[rows], "segments"), _measured(sizes[rows], "analyze")
    results = []
    for size in sizes:
        results += _results(size, found[size, "ours"], found[size, "ibis"], found[size, fastest], fastest)
    ours = found[rows, "ours"]
    results += [
        _row(f"{rows:,} units by {SEGMENTS} segments", segments["seconds"], ours["seconds"], "s", "ours without them"),
        _row(f"{rows:,} units, with all checks of the command", whole["seconds"], ours["seconds"], "s", "ours without"),
        _row(
            f"Memory with all checks, {rows:,} units", whole["megabytes"], found[rows, "ibis"]["megabytes"], "MB",
            "tea-tasting over Ibis",
        ),
    ]  # fmt: skip
    for row in results:
        print(
            f"{row['name']}: {row['ours']} {row['unit']} against {row['theirs']} ({row['theirs_is']}), {row['ratio']}x"
        )
    return results


def _results(
    size: int, ours: dict[str, float], ibis: dict[str, float], best: dict[str, float], fastest: str
) -> list[dict[str, Any]]:
    name = f"{size:,} units x 3 metrics"
    rows = [_row(f"{name}, time", ours["seconds"], ibis["seconds"], "s", "tea-tasting over Ibis with DuckDB")]
    if fastest != "ibis":
        rows.append(_row(f"{name}, time against the best", ours["seconds"], best["seconds"], "s", f"over {fastest}"))
    rows.append(_row(f"{name}, memory", ours["megabytes"], ibis["megabytes"], "MB", "tea-tasting over Ibis"))
    return rows


def _row(name: str, ours: float, theirs: float, unit: str, theirs_is: str) -> dict[str, Any]:
    return {
        "name": f"Experiments: {name}",
        "ours": round(ours, 3),
        "theirs": round(theirs, 3),
        "theirs_is": theirs_is,
        "unit": unit,
        "ratio": round(theirs / ours, 2),
    }


def _written(folder: Path, rows: int) -> Path:
    path = folder / f"{rows}.parquet"
    duckdb.sql(_DATA.format(segments=SEGMENTS, rows=rows, path=path))
    return path


def _measured(path: Path, side: str) -> dict[str, float]:
    """Seconds and peak megabytes of one side, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.experiments", side, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"  {side:<10} {path.stem:>10}: {found['seconds']:.3f} s, {found['megabytes']:.0f} MB", flush=True)
    return found


def _measure(side: str, path: str) -> None:
    work = _ours(path, side) if side in {"ours", "segments", "analyze"} else _theirs(path, side)
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": min(seconds), "megabytes": megabytes}))


def _ours(path: str, side: str) -> Callable[[], object]:
    from trimtab.adapters.ibis import IbisWarehouse
    from trimtab.experiments.analysis.compare import compare_cells
    from trimtab.experiments.cells import Key, merged
    from trimtab.experiments.declaration import Flags, declare
    from trimtab.runtime import load
    from trimtab.steps.analyze import Config, layout, requests, run

    flags = Flags(
        unit="unit", arm="variant", control="A",
        metrics=("conversion=binary:converted", "revenue=mean:revenue", "ctr=ratio:clicks/views"),
        covariates=("revenue=spent_before",),
    )  # fmt: skip
    spec = declare(None, flags, name="benchmark")

    def compare() -> object:
        table = IbisWarehouse().open(path, layout(spec))
        cells = table.cells(requests(spec), by=Key("segment") if side == "segments" else None)
        return [
            compare_cells(spec, name, arms["A"], arms["B"])
            for arms in merged(cells, lambda cell: cell.key).values()
            for name in spec.metrics
        ]

    def analyze() -> object:
        return run(Config(data=path, flags=flags), load("local"))

    return analyze if side == "analyze" else compare


def _theirs(path: str, side: str) -> Callable[[], object]:
    import ibis
    import tea_tasting as tt
    from pyarrow import parquet

    test = tt.Experiment(
        conversion=tt.Mean("converted"),
        revenue=tt.Mean("revenue", "spent_before"),
        ctr=tt.RatioOfMeans("clicks", "views"),
    )
    columns = ["variant", "converted", "spent_before", "revenue", "views", "clicks"]
    read: dict[str, Callable[[], Any]] = {
        "ibis": lambda: ibis.duckdb.connect().read_parquet(path),
        "duckdb": lambda: duckdb.read_parquet(path),
        "pyarrow": lambda: parquet.read_table(path, columns=columns),
        "pandas": lambda: parquet.read_table(path, columns=columns).to_pandas(),
    }
    return lambda: test.analyze(read[side]())


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _measure(sys.argv[1], sys.argv[2])
    else:
        main(*(int(argument) for argument in sys.argv[1:]))
