"""Views: what they answer, equal to plain Python on the same records; and how they are written for each engine."""

from __future__ import annotations

import json
import random
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest
import sqlglot
from sqlglot import exp

from compactor.cli import render
from compactor.cli.main import program
from compactor.commands.migrate import migrate
from compactor.commands.query import query
from compactor.commands.replay import replay
from compactor.commands.views.views import views
from compactor.errors import CompactorError, ConfigError, UsageError
from compactor.lake.own_tables import FILES
from compactor.progress import NullProgress
from compactor.registry.loader import load
from compactor.reports.views import View
from compactor.views import definition
from compactor.views import dialect as dialects
from tests.support.fans import AS_OF, CHAIN, CYCLE, LEAD, Fans, answers, as_of, canonical, comparable
from tests.support.lake import ROOT, SCHEMAS, Lake

VIEWS = ROOT / "configs" / "views"
GOLDEN = ROOT / "tests" / "golden"
NAMES = definition.names(VIEWS)
STATES = {
    "fan_profiles": (("roverID",), "updatedAt"),
    "fan_identity_graph": (("identifierType", "identifierValue"), "updatedAt"),
    "fan_profile_merges": (("fromRoverID",), "mergedAt"),
}


def rendered(lake: Lake, dialect: Any, *names: str) -> dict[str, View]:
    report = views(lake.config, lake.registry, dialect=dialect, names=names)
    return {view.name: view for view in report.views}


def ask(lake: Lake, sql: str) -> list[dict[str, Any]]:
    reader = query(lake.config, lake.registry, sql)
    return [row for batch in reader for row in batch.to_pylist(maps_as_pydicts="strict")]


def settings(folder: Path = VIEWS) -> str:
    return f"views: {folder}\n"


@pytest.fixture(scope="module")
def fans() -> Fans:
    return Fans(6)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, fans: Fans) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("views"), settings=settings())
    for dataset in fans.records:
        lines = fans.lines(dataset)
        lake.deliver(dataset, lines[::2], part="a")
        lake.deliver(dataset, [*lines[1::2], lines[0]], part="b", hour="2026-11-02T05")
    lake.compact()
    return lake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(VIEWS, tmp_path / "views"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Without a table: views are written by what the registry says."""
    return Lake(tmp_path_factory.mktemp("empty"), settings=settings())


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"loaded_records"}))
def test_each_view_answers_as_plain_python_does(lake: Lake, fans: Fans, name: str) -> None:
    expected = answers(fans.records)[name]
    assert expected, "an empty answer would prove nothing"

    assert comparable(ask(lake, f"SELECT * FROM {name}")) == comparable(expected)


@pytest.mark.parametrize("name", NAMES)
def test_each_view_can_be_asked_as_its_file_shows(lake: Lake, name: str) -> None:
    view = rendered(lake, "duckdb")[name]

    assert view.ask
    assert view.description
    ask(lake, view.ask.replace("rover.", ""))


@pytest.mark.parametrize("name", STATES)
def test_state_as_of_a_day_is_what_was_newest_at_its_end(lake: Lake, fans: Fans, name: str) -> None:
    day = f"DATE '{AS_OF}'"
    expected = as_of(fans.records[name], *STATES[name], AS_OF)
    assert 0 < len(expected) < len(fans.records[name])

    found = ask(
        lake, f"SELECT id FROM {name}_periods WHERE from_day <= {day} AND (until_day > {day} OR until_day IS NULL)"
    )

    assert sorted(row["id"] for row in found) == sorted(expected)


def test_the_newest_state_as_of_a_day_is_the_current_table(lake: Lake) -> None:
    for name in STATES:
        found = ask(lake, f"SELECT id FROM {name}_periods WHERE until_day IS NULL")
        assert sorted(row["id"] for row in found) == sorted(row["id"] for row in ask(lake, f"SELECT id FROM {name}"))


def merges(seed: int) -> dict[str, str]:
    """Edges of many fans: chains and cycles around the limits, and random graphs, each of fans of its own."""
    chance = random.Random(seed)
    edges: dict[str, str] = {}
    for length in (1, 2, CHAIN - 1, CHAIN, CHAIN + 1, CHAIN + 9):
        edges |= {f"chain{length}-{n}": f"chain{length}-{n + 1}" for n in range(length)}
    for cycle in (1, 2, 3, CYCLE, CYCLE + 1, 20):
        for lead in (0, 1, LEAD, LEAD + 1, 14):
            names = [f"ring{cycle}-{lead}-{n}" for n in range(cycle + lead)]
            chance.shuffle(names)
            edges |= dict(zip(names, [*names[1:], names[lead]], strict=True))
    for graph in range(80):
        names = [f"graph{graph}-{n}" for n in range(chance.randint(2, 40))]
        edges |= {name: chance.choice(names) for name in names if chance.random() < 0.9}
    return edges


@pytest.mark.parametrize("seed", [1, 2])
def test_canonical_fans_are_what_a_walk_finds_and_unsettled_past_the_limits(tmp_path: Path, seed: int) -> None:
    lake, edges = Lake(tmp_path, settings=settings()), merges(seed)
    at = "2026-11-01T00:00:00Z"
    envelope = {"version": 1, "roverID": "x", "emittedAt": at, "mergedAt": at}
    pairs = [*edges.items(), ("to nobody", None)]
    lines = [
        json.dumps({"id": f"m{n}", **envelope, "fromRoverID": source, "toRoverID": into}).encode()
        for n, (source, into) in enumerate(pairs)
    ]
    lake.deliver("fan_profile_merges", lines)
    lake.compact(datasets=("fan_profile_merges",))
    expected = {fan: canonical(edges, fan) for fan in edges}

    rows = ask(lake, "SELECT * FROM canonical_fans")

    found = {row["rover_id"]: (row["canonical_rover_id"], row["settled"]) for row in rows}
    assert len(rows) == len(found) == len(edges)
    assert {fan: settled for fan, (_, settled) in found.items()} == {
        fan: settled for fan, (_, settled) in expected.items()
    }
    assert {fan: each for fan, each in found.items() if each[1]} == {
        fan: each for fan, each in expected.items() if each[1]
    }
    assert 0 < sum(not settled for _, settled in expected.values()) < len(expected)


def test_each_record_was_loaded_when_its_object_was_last_which_a_replay_does_not_change(tmp_path: Path) -> None:
    schemas = Path(shutil.copytree(SCHEMAS, tmp_path / "schemas"))
    lake, fans = Lake(tmp_path, settings=settings(), schemas=schemas), Fans(3, fans=5)
    other = json.dumps({**fans.records["fan_track_events"][0], "id": "later", "version": 2}).encode()
    for dataset in fans.records:
        lake.deliver(dataset, [*fans.lines(dataset), *([other] if dataset == "fan_track_events" else [])])
    lake.compact()

    rows = ask(lake, "SELECT * FROM loaded_records")

    loads = {(row["dataset"], row["key"]): row["loaded_at"] for row in ask(lake, f"SELECT * FROM {FILES}")}
    assert {row["loaded_at"] for row in rows} == set(loads.values())
    assert all(row["loaded_at"] == loads[row["dataset"], row["source_file"]] for row in rows)
    assert len(rows) == sum(map(len, fans.records.values()))
    watermark = max(row["loaded_at"] for row in rows)

    file = schemas / "fan_track_events.yaml"
    file.write_text(f"{file.read_text()}  2:\n    changes: [{{add: {{field: screen, type: string}}}}]\n")
    registry = load(schemas)
    migrate.apply(lake.config, registry, plan_id=None, progress=NullProgress())
    replay(lake.config, registry, progress=NullProgress())
    lake.registry = registry
    assert len(ask(lake, "SELECT id FROM loaded_records WHERE id = 'later'")) == 1
    assert ask(lake, f"SELECT id FROM loaded_records WHERE loaded_at > TIMESTAMPTZ '{watermark}'") == []

    lake.deliver("fan_track_events", [*fans.lines("fan_track_events"), other, b""])
    lake.compact()
    found = {
        row["id"] for row in ask(lake, f"SELECT id FROM loaded_records WHERE loaded_at > TIMESTAMPTZ '{watermark}'")
    }
    assert found == {"later", *(each["id"] for each in fans.records["fan_track_events"])}, "its object was replaced"


@pytest.mark.parametrize("dialect", dialects.DIALECTS)
def test_the_statements_equal_the_golden_files(empty: Lake, dialect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """After a change that is meant: `compactor views --dialect NAME > tests/golden/views_NAME.sql`, and look at it."""
    render.show(views(empty.config, empty.registry, dialect=dialect), render.stdout())

    assert capsys.readouterr().out == (GOLDEN / f"views_{dialect}.sql").read_text()


@pytest.mark.parametrize("dialect", dialects.DIALECTS)
def test_each_statement_parses_in_its_dialect_and_qualifies_each_table(empty: Lake, dialect: Any) -> None:
    for view in rendered(empty, dialect).values():
        for sql in (view.create, view.ask):
            (statement,) = sqlglot.parse(sql, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
            assert statement is not None
            own = {each.alias for each in statement.find_all(exp.CTE)}
            tables = [table for table in statement.find_all(exp.Table) if table.name not in own]
            assert tables
            assert all(table.db == "rover" for table in tables), sql
            assert all(table.catalog == ("rover" if dialect == "spark" else "") for table in tables), sql


def test_the_command_line_offers_all_dialects() -> None:
    (option,) = [each for each in program.commands["views"].params if each.name == "dialect"]
    assert isinstance(option.type, click.Choice)
    assert tuple(option.type.choices) == dialects.DIALECTS


def test_the_page_describes_each_view() -> None:
    page = (ROOT / "docs" / "views.md").read_text()
    assert not [name for name in NAMES if f"`{name}`" not in page]


def test_a_view_of_athena_has_no_time_with_a_zone(empty: Lake) -> None:
    """Its columns are Hive types, and those have none."""
    for view in rendered(empty, "athena").values():
        outer = sqlglot.parse_one(view.sql, read="trino")
        assert isinstance(outer, exp.Query)
        for column in outer.selects:
            if re.search(r"_at$|^valid_", column.alias_or_name) and view.name != "message_funnel":
                assert "AS TIMESTAMP(6))" in column.sql("trino"), (view.name, column.sql("trino"))


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC"])
def test_a_day_is_that_of_utc_whatever_the_session_says(empty: Lake, zone: str) -> None:
    con = duckdb.connect()
    con.execute(f"LOAD icu; SET TimeZone = '{zone}'")
    con.execute(
        "CREATE SCHEMA rover; CREATE TABLE rover.fan_profile_merges_history AS SELECT 'a' AS id, 'b' AS from_rover_id,"
        " 'c' AS to_rover_id, TIMESTAMPTZ '2026-11-01 23:59:59.999999+00' AS merged_at"
    )
    con.execute(rendered(empty, "duckdb")["fan_profile_merges_periods"].create)

    found = con.execute("SELECT from_day::VARCHAR FROM rover.fan_profile_merges_periods").fetchall()

    assert found == [("2026-11-01",)]


def test_a_named_view_brings_those_that_it_needs(empty: Lake) -> None:
    assert list(rendered(empty, "trino", "message_funnel")) == ["canonical_fans", "canonical_events", "message_funnel"]


def test_a_view_that_does_not_fit_is_skipped_and_refused_if_it_was_named(folder: Path, tmp_path: Path) -> None:
    (folder / "spend.sql").write_text("-- What fans spend.\nSELECT rover_id, spend FROM fan_profiles\n")
    (folder / "rich.sql").write_text("-- Who spends.\nSELECT rover_id FROM spend\n")
    (folder / "fan_profiles.sql").write_text("SELECT id FROM fan_profiles_history\n")
    lake = Lake(tmp_path, settings=settings(folder))

    report = views(lake.config, lake.registry, dialect="trino")

    reasons = {each.name: each.reason for each in report.left_out}
    assert sorted(reasons) == ["fan_profiles", "rich", "spend"]
    assert "'spend'" in reasons["spend"]
    assert "a table has the name 'fan_profiles'" in reasons["fan_profiles"]
    assert {view.name for view in report.views} == set(NAMES)
    with pytest.raises(UsageError, match="spend"):
        views(lake.config, lake.registry, dialect="trino", names=("spend",))
    with pytest.raises(UsageError, match="no view 'curent_fans'; did you mean 'current_fans'"):
        views(lake.config, lake.registry, dialect="trino", names=("curent_fans",))


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("broken.sql", "SELECT a FROM\nWHERE", r"broken.sql:\d: not valid in Trino's SQL"),
        ("two.sql", "SELECT 1 AS a; SELECT 2 AS b", "should be one SELECT"),
        ("drop.sql", "DROP TABLE fan_profiles", "should be one SELECT"),
        ("empty.sql", "-- nothing\n", "should be one SELECT"),
        ("star.sql", "SELECT * FROM fan_profiles", "name the columns"),
        ("far.sql", "SELECT id FROM other.fan_profiles", "without a database"),
        ("Upper-case.sql", "SELECT 1 AS a", "rename the file"),
        ("canonical_fans.sql", "SELECT rover_id FROM canonical_events", "views that need each other"),
    ],
)
def test_a_mistake_in_a_view_is_reported_with_its_file(
    folder: Path, tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    (folder / name).write_text(text)
    lake = Lake(tmp_path, settings=settings(folder))

    with pytest.raises(ConfigError, match=sentence):
        views(lake.config, lake.registry, dialect="trino")


def test_a_folder_without_views_is_refused_by_the_verb_and_irrelevant_to_a_query(tmp_path: Path) -> None:
    bare = Lake(tmp_path, settings=settings(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"there is no \*\.sql file in it"):
        views(bare.config, bare.registry, dialect="trino")
    bare.deliver("fan_track_events", Fans(1, fans=1).lines("fan_track_events")[:1])
    bare.compact(datasets=("fan_track_events",))
    assert len(ask(bare, "SELECT id FROM fan_track_events")) == 1


def test_a_query_reads_the_files_of_views_only_where_it_names_one(folder: Path, tmp_path: Path) -> None:
    lake = Lake(tmp_path, settings=settings(folder))
    lake.deliver("fan_profiles", Fans(1, fans=2).lines("fan_profiles"))
    lake.compact(datasets=("fan_profiles",))
    (folder / "broken.sql").write_text("SELECT")

    assert len(ask(lake, "SELECT rover_id FROM fan_profiles")) == 2
    with pytest.raises(ConfigError, match=r"broken\.sql"):
        ask(lake, "SELECT * FROM fan_profiles_periods")


def test_a_view_over_a_table_that_is_not_there_says_what_to_run(tmp_path: Path) -> None:
    lake = Lake(tmp_path, settings=settings())
    lake.deliver("fan_profiles", Fans(1, fans=2).lines("fan_profiles"))
    lake.compact(datasets=("fan_profiles",))

    with pytest.raises(CompactorError, match="fan_profile_merges does not exist yet; run `compactor compact`"):
        ask(lake, "SELECT * FROM canonical_fans")


@pytest.mark.parametrize(("dialect", "sentence"), [("duckdb", "knows the views"), ("spark", "pipe what is printed")])
def test_an_engine_without_apply_gets_an_error_with_the_next_step(empty: Lake, dialect: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        views(empty.config, empty.registry, dialect=dialect, apply=True)


@pytest.mark.parametrize(
    "server", [None, "localhost:8080", "http://localhost:1/lake", "http://me:secret@localhost:1/lake"]
)
def test_trino_has_to_be_named_in_full_and_without_a_password(empty: Lake, server: str | None) -> None:
    with pytest.raises(UsageError, match="--server") as raised:
        views(empty.config, empty.registry, dialect="trino", apply=True, server=server)
    assert "secret" not in str(raised.value)


def test_an_unreachable_trino_is_reported_in_one_sentence(lake: Lake) -> None:
    with pytest.raises(CompactorError, match="Trino cannot be reached at localhost:1"):
        views(lake.config, lake.registry, dialect="trino", apply=True, server="http://me@localhost:1/lake")


def test_no_view_is_created_before_its_tables(empty: Lake) -> None:
    with pytest.raises(CompactorError, match="does not exist yet; run `compactor compact` first"):
        views(empty.config, empty.registry, dialect="trino", apply=True, server="http://me@localhost:1/lake")


def test_the_day_before_midnight_is_in_the_data(fans: Fans) -> None:
    """Else the tests above could not distinguish a UTC day from another."""
    times = [datetime.fromisoformat(each["occurredAt"]) for each in fans.records["fan_track_events"]]
    assert any(time.astimezone(UTC).date() != (time - timedelta(hours=5)).date() for time in times)
