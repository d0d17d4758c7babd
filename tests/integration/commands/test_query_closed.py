"""`query` reads the tables alone, shows no setting and no key, and ends with a sentence whatever its reader does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import compactor
from compactor.commands.query import query
from compactor.duck import reader
from compactor.duck.reader import Job
from compactor.duck.sql import literal
from compactor.errors import CompactorError, UsageError
from tests.support.lake import ROOT, Lake

SECRET = "a-secret-key"  # a value to look for


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake whose warehouse is reached by a link."""
    folder = tmp_path_factory.mktemp("lake")
    (folder / "disk").mkdir()
    (folder / "warehouse").symlink_to(folder / "disk", target_is_directory=True)
    lake = Lake(folder)
    times = '"emittedAt":"2026-11-01T05:00:00Z","occurredAt":"2026-11-01T05:00:00Z"'
    lines = [f'{{"id":"e{number}","version":1,"roverID":"f","event":"x",{times}}}'.encode() for number in range(3)]
    lake.deliver("fan_track_events", lines)
    lake.compact(datasets=("fan_track_events",))
    (folder / "private.csv").write_text("name\njane\n")
    return lake


@pytest.fixture(scope="module")
def session(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The session of the reading process, in this one."""
    table = lake.tables.table("fan_track_events")
    view = f"CREATE VIEW fan_track_events AS SELECT * FROM iceberg_scan({literal(table.metadata_location)})"
    folder = str(tmp_path_factory.mktemp("spill"))
    with reader.open_session(
        Job("", [view], [], sorted(table.places()), ["avro", "iceberg", "httpfs"], False, 1 << 28, 1, folder)
    ) as con:
        yield con


def rows(session: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = reader.result(session, sql, allow_files=False).read_all().to_pylist()
    return found


OTHER_PLACES = [
    "from '{folder}/private.csv'",
    "select * from read_csv('{folder}/private.csv')",
    "from read_csv_auto(['{folder}/private.csv'])",
    "from fan_track_events union all by name from '{folder}/private.csv'",
    "select (select max(name) from '{folder}/private.csv')",
    "with a as (from read_text('{folder}/private.csv')) from a",
    "from read_blob('{folder}/*')",
    "from read_json('{folder}/config.yaml')",
    "from read_parquet('{folder}/*/*.parquet')",
    "from sniff_csv('{folder}/private.csv')",
    "from glob('{folder}/*')",
    "from glob('/etc/*')",
    "from '{table}/../../catalog.db'",
    "from read_text('{table}/link.csv')",
    "from iceberg_scan('{folder}/other')",
    "from iceberg_metadata('{folder}/other')",
    "from iceberg_snapshots('s3://bucket/table')",
    "from 'http://127.0.0.1:9/a.csv'",
    "from 'https://example.com/a.parquet'",
    "from 's3://bucket/a.parquet'",
    "from read_duckdb('{folder}/x.db')",
    "from parquet_metadata('{folder}/x.parquet')",
]


@pytest.fixture(scope="module")
def places(lake: Lake) -> dict[str, str]:
    table = lake.tables.table("fan_track_events").location.removeprefix("file://")
    (Path(table) / "link.csv").symlink_to(lake.folder / "private.csv")
    return {"folder": str(lake.folder), "table": table}


@pytest.mark.parametrize("sql", OTHER_PLACES)
def test_a_file_or_url_that_is_no_part_of_the_tables_is_refused(
    session: duckdb.DuckDBPyConnection, places: dict[str, str], sql: str
) -> None:
    with pytest.raises(UsageError, match=r"query reads the tables alone|query does not allow") as e:
        rows(session, sql.format(**places))
    assert "jane" not in str(e.value)


def test_no_variable_of_python_and_no_key_of_the_environment_reaches_a_statement(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    people = pa.table({"name": ["jane"]})
    with pytest.raises(UsageError, match="Table with name people does not exist"):
        query(lake.config, lake.registry, "from people")
    assert len(people) == 1


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("select count(*) as n from fan_track_events", [{"n": 3}]),
        ("with t as (select * from fan_track_events) select count(*) as n from t join range(2) on true", [{"n": 6}]),
        ("show tables", [{"name": "fan_track_events"}]),
        ("select column_name from (describe fan_track_events) limit 1", [{"column_name": "id"}]),
        ("select table_name from information_schema.tables", [{"table_name": "fan_track_events"}]),
        ("select unnest([1, 2]) as n, 'from read_csv()' as t limit 1", [{"n": 1, "t": "from read_csv()"}]),
        ("select list_transform([1], x -> x + 1) as n", [{"n": [2]}]),
    ],
)
def test_statements_over_the_tables_work(
    session: duckdb.DuckDBPyConnection, sql: str, found: list[dict[str, Any]]
) -> None:
    assert rows(session, sql) == found


def test_files_can_be_allowed(lake: Lake, places: dict[str, str]) -> None:
    opened = compactor.open(lake.file)
    sql = f"select name, count(*) as n from '{places['folder']}/private.csv', fan_track_events group by all"
    assert opened.query(sql, allow_files=True).to_pylist() == [{"name": "jane", "n": 3}]
    with pytest.raises(UsageError, match="give --allow-files if it should"):
        opened.query(sql)


def test_the_sql_must_be_text(lake: Lake) -> None:
    with pytest.raises(UsageError, match="the SQL is not UTF-8 text"):
        query(lake.config, lake.registry, "select '\udcff'")


def emptied(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [emptied, Path.unlink])
def test_a_damaged_manifest_fails_the_query_with_a_sentence(
    lake: Lake, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    """DuckDB's Iceberg reader ends its process there: an exception in a thread that nothing handles."""
    table = Path(lake.tables.table("fan_track_events").location.removeprefix("file://"))
    kept = Path(shutil.copytree(table / "metadata", tmp_path / "metadata"))
    for manifest in (table / "metadata").glob("*-m0.avro"):
        damage(manifest)
    try:
        with pytest.raises(
            CompactorError, match=r"a file of a table's metadata is damaged, missing or may not be"
        ) as e:
            query(lake.config, lake.registry, "select count(*) from fan_track_events")
        assert e.value.exit_code == 1
    finally:
        shutil.copytree(kept, table / "metadata", dirs_exist_ok=True)


@pytest.mark.parametrize(
    ("threads", "sentence"),
    [(6, "32 are needed, and"), (36, "the query ended: no more threads may be started")],
)
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="a limit on processes spares root")
def test_too_few_threads_fail_the_query_with_a_sentence(lake: Lake, threads: int, sentence: str) -> None:
    """As a user who has no other process. It may read what root may, because the test's folders are root's."""
    rights = "+dac_read_search,+dac_override"
    user = ["setpriv", "--reuid", "54321", "--clear-groups", f"--inh-caps={rights}", f"--ambient-caps={rights}"]
    words = ["-m", "compactor", "query", "select count(*) from fan_track_events"]
    ended = subprocess.run(
        [*user, "prlimit", f"--nproc={threads}", sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "COMPACTOR_CONFIG": str(lake.file)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    assert sentence in ended.stderr


def test_a_reader_that_is_no_longer_read_ends_and_leaves_nothing(lake: Lake, tmp_path: Path) -> None:
    lake.file.write_text(f"{lake.file.read_text()}\nresources: {{temp_dir: {tmp_path / 'spill'}}}\n")
    sql = "select a.range, b.range as other from range(100000) a, range(100000) b, (select 1 from fan_track_events)"
    reader = compactor.open(lake.file).query_batches(sql)
    assert len(list((tmp_path / "spill").iterdir())) == 1
    assert reader.read_next_batch().num_rows
    reader.close()
    del reader
    assert list((tmp_path / "spill").iterdir()) == []
