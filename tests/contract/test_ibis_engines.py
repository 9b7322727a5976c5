"""The warehouse's suite over engines of their own processes, where they are installed; none is in the lock file."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import ibis
import pandas as pd
import pytest

from trimtab.adapters.ibis import IbisWarehouse
from trimtab.testing.warehouse import Saved, WarehouseContract

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def postgres() -> Iterator[Path]:
    """The socket's folder of a private PostgreSQL, which does not run as root."""
    pytest.importorskip("psycopg", reason="Ibis' client of PostgreSQL is not installed")
    server = shutil.which("postgres")
    if server is None:
        pytest.skip("PostgreSQL is not installed")
    programs = Path(server).resolve().parent
    with tempfile.TemporaryDirectory(prefix="trimtab-postgres-") as name:
        folder, owner = Path(name), "nobody" if os.getuid() == 0 else None
        if owner:
            shutil.chown(folder, owner)
        data = folder / "data"

        def run(*command: str | Path) -> None:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=name, user=owner)

        run(programs / "initdb", "-D", data, "-U", "shop", "--auth=trust", "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={name}"
        control: list[str | Path] = [programs / "pg_ctl", "-D", data, "-w", "-t", "60", "-l", folder / "log"]
        run(*control, "-o", options, "start")
        try:
            yield folder
        finally:
            run(*control, "-m", "immediate", "stop")


class TestPostgres(WarehouseContract):
    @pytest.fixture
    def warehouse(self) -> IbisWarehouse:
        return IbisWarehouse()

    @pytest.fixture
    def saved(self, postgres: Path) -> Saved:
        uri = f"postgres://shop@/postgres?host={postgres}"

        def save(table: pd.DataFrame) -> str:
            connection = ibis.connect(uri)
            try:
                connection.create_table(name := f"exposures_{uuid4().hex}", table)
            finally:
                connection.disconnect()
            return f"{uri}#{name}"

        return save


class TestSpark(WarehouseContract):
    """Spark's own configuration says where it runs: the URI has none of it."""

    @pytest.fixture
    def warehouse(self) -> IbisWarehouse:
        return IbisWarehouse()

    @pytest.fixture
    def saved(self, tmp_path: Path) -> Saved:
        spark = pytest.importorskip("pyspark.sql", reason="PySpark is not installed")
        settings = {"spark.master": "local[2]", "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2"}
        session = spark.SparkSession.builder.config(map=settings).getOrCreate()

        def save(table: pd.DataFrame) -> str:
            table.to_parquet(tmp_path / "rows.parquet", index=False)
            session.read.parquet(str(tmp_path / "rows.parquet")).createOrReplaceTempView("exposures")
            return "pyspark://#exposures"

        return save
