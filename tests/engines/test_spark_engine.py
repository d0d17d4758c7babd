"""`compact --engine spark` makes the tables that the model says, in turns with the engine in this process too."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from compactor.commands.migrate import migrate
from compactor.commands.replay import replay
from compactor.commands.verify.verify import verify
from compactor.engines.spark.work import SparkBatch
from compactor.progress import NullProgress
from tests.engines import places
from tests.engines.spark_engine import assert_same, checksums, contents, on_spark, session
from tests.support.aws_lake import AwsLake
from tests.support.bad_files import FILES
from tests.support.bad_lines import LINES, good_lines
from tests.support.glue_server import AwsServer
from tests.support.histories import DATASETS, History, deliver, nights
from tests.support.lake import ROOT, SCHEMAS, Lake
from tests.support.machine import QUIET, LakeMachine
from tests.support.odd_json import ODD_SCALARS
from tests.support.overtaking import STEPS
from tests.support.processes import start
from tests.support.profile_versions import learn_version_2, record
from tests.support.promoted import of_each_kind, with_promoted

pytestmark = pytest.mark.filterwarnings("ignore:unclosed .*socket:ResourceWarning")  # by the client of Spark
STATES = ("fan_profiles", "fan_identity_graph")
ENGINES = ("local", "spark")
SMALL = ("--fans=300", "--events=2000", "--bad-lines=40")
LARGE = ("--fans=500000", "--events=2000000", "--bad-lines=200")
log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def spark() -> Iterator[None]:
    with session():
        yield


def assert_sound(lake: Lake) -> None:
    checks = verify(lake.config, lake.registry, rebuild=True, files=True).checks
    assert [check for check in checks if not check.ok] == []


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize("number", range(6))
def test_any_history_by_spark_and_in_turns_ends_as_the_model_says(tmp_path: Path, number: int) -> None:
    """The even ones by Spark alone."""
    chance = random.Random(number)
    datasets = tuple(chance.sample(DATASETS, 2))
    lake = Lake(tmp_path, settings=on_spark(batch=f"{{objects: {chance.choice([5, 1000])}}}"))
    for night, deliveries in enumerate(nights(number, datasets)):
        for delivery in deliveries:
            deliver(lake, delivery)
        lake.compact(datasets=datasets, full_scan=True, engine=ENGINES[(night + 1) % 2] if number % 2 else "spark")
        lake.assert_equals_model(datasets)
    assert_sound(lake)


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize("size", [SMALL, pytest.param(LARGE, marks=pytest.mark.soak)], ids=["small", "large"])
def test_both_engines_and_turns_of_them_write_the_same_rows_ledger_and_quarantine(
    tmp_path: Path, size: tuple[str, ...]
) -> None:
    """Three nights, with deletes, late records, duplicates, a snapshot that is run again, and lines that are none."""
    sample = Path(os.environ.get("LARGE_SAMPLE", tmp_path / "sample")) if size is LARGE else tmp_path / "sample"
    if not sample.exists():
        command = [sys.executable, str(ROOT / "scripts" / "make_sample.py"), str(sample), *size]
        subprocess.run(command, check=True, capture_output=True)
    objects = sorted(sample.rglob("*.ndjson.gz"), key=lambda path: path.parts[-3:])  # by the hour of their key
    batch = "{objects: 700, bytes: 64MiB}"  # equal ones, so that each record counts as new for the same object
    found = []
    for name, engines in (("local", ["local"] * 3), ("spark", ["spark"] * 3), ("turns", ["spark", "local", "spark"])):
        lake = Lake(tmp_path / name, settings=on_spark(f"batch: {batch}", batch=batch))
        for night, engine in enumerate(engines):
            for path in objects[night * len(objects) // 3 : (night + 1) * len(objects) // 3]:
                if size is SMALL:
                    lake.copy_in(path, sample)
                else:
                    link_in(lake, path, sample)
            began = time.monotonic()
            report = lake.compact(engine=engine)
            log.info("%s, night %d by %s: %.0f s", name, night + 1, engine, time.monotonic() - began)
            assert report.exit_code in (0, 3)
        if size is SMALL:
            lake.assert_equals_model(DATASETS)
            found.append(contents(lake))
        else:
            assert_sound(lake)
            found.append(checksums(lake))
            log.info("%s: %s", name, found[-1])
    assert_same(found[0], found[1])
    assert_same(found[0], found[2])


def link_in(lake: Lake, path: Path, sample: Path) -> None:
    """Delivers an object without a model."""
    target = lake.source / path.relative_to(sample)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.hardlink_to(path)


@pytest.mark.usefixtures("spark")
def test_bad_lines_and_files_are_reported_in_the_same_words(tmp_path: Path) -> None:
    found = []
    for engine in ENGINES:
        lake = Lake(tmp_path / engine, settings=on_spark())
        for number, bad in enumerate(LINES.values()):
            lines = good_lines(f"l{number}", 4, bad.dataset)
            lines.insert(number % 5, bad.line)
            lake.deliver(bad.dataset, lines, part=f"l{number}")
        for number, file in enumerate(FILES.values()):
            lake.deliver("fan_profiles", [], part=f"f{number}", raw=file.data)
        report = lake.compact(engine=engine)
        assert report.exit_code == 1  # some files stay pending
        said = [repr({**each.__dict__, "seconds": 0, "snapshots": 0}) for each in report.datasets]
        found.append({"report": said, **contents(lake)})
    assert len(found[0]["compactor_quarantine"]) >= len(LINES)
    assert_same(found[0], found[1])


@pytest.mark.usefixtures("spark")
def test_an_odd_value_is_the_same_in_its_columns_on_spark(tmp_path: Path) -> None:
    name = 'it\'s {x} \\ "$"'
    promoted = (*of_each_kind("traits", name, "t"), *of_each_kind("extra", "v", "x"))
    schemas = Path(shutil.copytree(SCHEMAS, tmp_path / "schemas"))
    with (schemas / "fan_profiles.yaml").open("a", encoding="utf-8") as file:
        file.write("promote:\n" + "".join(each.yaml for each in promoted))
    times = '"emittedAt":"2026-11-01T05:00:00Z","updatedAt":"2026-11-01T05:00:00Z"'
    lines = [
        f'{{"id":"p{n}","version":1,"roverID":"f{n}",{times},"traits":{{{json.dumps(name)}:{text}}},"v":{text}}}'.encode()
        for n, text in enumerate(ODD_SCALARS)
    ]
    unfit = []
    for engine in ENGINES:
        lake = Lake(tmp_path / engine, settings=on_spark(), schemas=schemas)
        lake.deliver("fan_profiles", lines)
        report = lake.compact(datasets=("fan_profiles",), engine=engine)
        found = lake.history("fan_profiles")
        for id_, row in lake.model.history("fan_profiles").items():
            assert found[id_] == with_promoted(row, promoted), engine
        unfit.append(dict(report.datasets[0].unfit))
    assert unfit[0] == unfit[1] != {}


@pytest.mark.usefixtures("spark")
def test_any_sequence_of_steps_on_spark_ends_as_the_model_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, "plan", (SparkBatch, "plan"))
    monkeypatch.setitem(STEPS, "writing of files", (SparkBatch, "history_change"))
    # Made here, not on import: the settings name jars, which only `make engines` fetches.
    machine = seed(1)(type("SparkMachine", (LakeMachine,), {"settings": on_spark(batch="{objects: 3}")}))
    run_state_machine_as_test(machine, settings=settings(QUIET, max_examples=3, stateful_step_count=7))


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize("partition", ['"bucket(4, rover_id)"', "month(updated_at)", "none"])
def test_spark_lays_rows_out_as_the_registry_says(tmp_path: Path, partition: str) -> None:
    schemas = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, schemas)
    file = schemas / "fan_profiles.yaml"
    text, count = re.subn(r"partition: day\(updated_at\)", f"partition: {partition}", file.read_text())
    assert count == 2
    file.write_text(text)
    found = []
    for engine in ENGINES:
        lake = Lake(tmp_path / engine, settings=on_spark(), schemas=schemas)
        for night in History(3, datasets=("fan_profiles",), entities=40).deliveries(2, 60):
            deliver(lake, night)
            lake.compact(datasets=("fan_profiles",), engine=engine, full_scan=True)
        lake.assert_equals_model(("fan_profiles",))
        table = lake.tables.table("fan_profiles")
        found.append(sorted((str(file.partition), file.record_count) for file in table.files))
    assert found[0] == found[1]


@pytest.mark.usefixtures("spark")
def test_spark_continues_with_tables_that_were_migrated(tmp_path: Path) -> None:
    """Also with columns that were renamed, whose files have the old names."""
    schemas = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, schemas)
    lake = Lake(tmp_path / "lake", settings=on_spark(), schemas=schemas)
    lake.deliver("fan_profiles", [record(n, 1 + n % 2) for n in range(6)], part="a")
    lake.compact(datasets=("fan_profiles",))
    assert len(lake.quarantine()) == 3
    learn_version_2(schemas / "fan_profiles.yaml")
    file = schemas / "fan_profiles.yaml"
    file.write_text(file.read_text() + "  3:\n    changes: [{rename: {from: traits, to: attributes}}]\n")
    lake = Lake(tmp_path / "lake", settings=on_spark(), schemas=schemas)
    migrate.apply(lake.config, lake.registry, plan_id=None, progress=NullProgress())
    replay(lake.config, lake.registry, progress=NullProgress())
    lake.deliver_unmodelled("fan_profiles", [record(n, 2) for n in range(4, 10)], part="b")
    lake.compact(datasets=("fan_profiles",), full_scan=True)
    assert sorted(lake.history("fan_profiles")) == [f"r{n}" for n in range(10)]
    assert len(lake.current("fan_profiles")) == 10
    assert_sound(lake)


@pytest.mark.parametrize("version", ["3.5", "4.1"])
def test_a_run_that_is_killed_on_spark_is_finished_by_the_other_engine(tmp_path: Path, version: str) -> None:
    lake = Lake(tmp_path, settings=on_spark(version=version, batch="{objects: 1}"))
    for delivery in History(11, datasets=STATES, entities=10, replaces=False).deliveries(8, 30):
        deliver(lake, delivery)
    staging = lake.folder / "warehouse" / "rover" / "fan_identity_graph_history" / "staging"
    command = [sys.executable, "-m", "compactor", "-c", str(lake.file), "compact", "--full-scan"]
    with pytest.MonkeyPatch.context() as patch, (tmp_path / "log").open("w") as log:
        environment(patch, version)
        run = subprocess.Popen([*command, *(f"--dataset={name}" for name in STATES)], cwd=ROOT, stderr=log)
        while not staging.exists():
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"ended with {run.wait(timeout=0.1)}: {(tmp_path / 'log').read_text()}")
        run.kill()
        run.wait()
    lake.compact(datasets=STATES, full_scan=True, engine="local")
    lake.assert_equals_model(STATES)
    assert_sound(lake)


@pytest.mark.parametrize("version", ["3.5", "4.1"])
@pytest.mark.usefixtures("aws_environment")
def test_spark_reads_and_writes_s3_and_publishes_to_glue(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    aws_server: AwsServer,
    version: str,
) -> None:
    lake = AwsLake(tmp_path, aws_server, monkeypatch)
    file = tmp_path / "aws.yaml"
    schemas = f"schemas: {SCHEMAS}\n"
    file.write_text((ROOT / "configs" / "aws.yaml").read_text() + schemas + on_spark(version=version))
    environment(monkeypatch, version)
    for night in range(2):
        for delivery in History(20 + night, datasets=STATES, entities=10, replaces=False).deliveries(3, 30):
            lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=f"{night}-{delivery.part}")
        words = ["-m", "compactor", "-c", str(file), "compact", "--json", "--full-scan"]
        run = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
        assert run.returncode in (0, 3), run.stderr
        assert json.loads(run.stdout)["exit_code"] == run.returncode
        lake.assert_equals_model(STATES)
    assert_sound(lake)


def environment(patch: pytest.MonkeyPatch, version: str) -> None:
    """A child process takes this version of Spark's client in place of the one that is installed here."""
    name = f"spark{version.replace('.', '')}"
    (packages,) = places.python(name).parent.parent.glob("lib/python*/site-packages")
    patch.setenv("JAVA_HOME", str(places.java("spark")))
    patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    patch.setenv("PYTHONPATH", f"{ROOT}:{packages}")


def test_without_java_or_jars_the_run_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path, settings="engine: spark\nspark: {settings: {spark.jars: /nowhere/iceberg.jar}}")
    lake.deliver("fan_profiles", [record(1, 1)])
    monkeypatch.setenv("JAVA_HOME", str(places.java("spark")))
    run = start(lake, "compact", "--dataset", "fan_profiles")
    _, said = run.communicate()
    assert run.returncode == 2, said
    assert "docs/spark.md" in said
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    run = start(lake, "compact", "--dataset", "fan_profiles")
    _, said = run.communicate()
    assert run.returncode == 2
    assert "it needs Java 17" in said
    assert "Traceback" not in said


def test_spark_submit_runs_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path)
    for delivery in History(31, datasets=STATES, entities=10, replaces=False).deliveries(3, 30):
        deliver(lake, delivery)
    environment(monkeypatch, "3.5")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    jars = ",".join(map(str, places.spark_jars("3.5")))
    submit = [str(places.python("spark35").with_name("spark-submit")), "--master", "local[2]", "--jars", jars]
    words = ["-c", str(lake.file), "compact", "--engine", "spark", "--full-scan"]
    run = subprocess.run(
        [*submit, str(ROOT / "scripts" / "spark_main.py"), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in (0, 3), run.stdout + run.stderr
    lake.assert_equals_model(STATES)
