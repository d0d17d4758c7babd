"""stdin, stdout and stderr of real processes: other encodings, closed and full ones, and readers that have gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.lake import ROOT

TEXT = "fän-€-日"
# The verbs answer at once: what is tested is how the answer is printed.
PROGRAM = f"""
import sys, types
from compactor.cli import main
from compactor.reports.report import StatusReport, TableStatus

def stub(module, name, answer):
    sys.modules[module] = types.ModuleType(module)
    setattr(sys.modules[module], name, answer)

def query(config, registry, sql, **_):
    import pyarrow as pa

    names = [{TEXT!r}] * (50000 if "many" in sql else 1)
    return pa.table({{"name": names}}).to_reader(max_chunksize=1000)

def status(config, registry):
    return StatusReport(tables=(TableStatus({TEXT!r}, 1, None, 1, 1, 2**62 + 1),))

stub("compactor.registry.loader", "load", lambda folder: None)
stub("compactor.commands.query", "query", query)
stub("compactor.commands.status", "status", status)
main.run()
"""


def run(folder: Path, *words: str, encoding: str | None = None, shell: str = "", **options: Any) -> Any:
    """Runs the program; `shell` is what a shell adds to the command, such as a redirection."""
    (folder / "c.yaml").write_text("source: {url: in}\nwarehouse: lake\n")
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COMPACTOR_CONFIG": str(folder / "c.yaml")}
    if encoding:
        environment["PYTHONIOENCODING"] = encoding
    command = [sys.executable, str(folder / "program.py"), *words]
    if shell:
        command = ["bash", "-o", "pipefail", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(command, env=environment, capture_output=True, check=False, **options)


@pytest.mark.parametrize(
    ("encoding", "words"),
    [("ascii", ("status",)), ("ascii", ("query", "select")), ("latin-1", ("init", "{folder}/" + TEXT))],
)
def test_an_output_of_another_encoding_breaks_no_verb(tmp_path: Path, encoding: str, words: tuple[str, ...]) -> None:
    ended = run(tmp_path, *(word.format(folder=tmp_path) for word in words), encoding=encoding)
    assert (ended.returncode, ended.stderr) == (0, b"")
    printed = ended.stdout.decode(encoding)
    assert TEXT.encode(encoding, "backslashreplace").decode(encoding) in printed.replace("\n", "")


def test_csv_is_utf8_in_each_encoding(tmp_path: Path) -> None:
    printed = run(tmp_path, "query", "--format", "csv", "x", encoding="latin-1").stdout
    assert printed.decode() == f"name\n{TEXT}\n"


def test_json_is_ascii_and_ids_of_snapshots_keep_each_digit_in_it(tmp_path: Path) -> None:
    table = json.loads(run(tmp_path, "status", "--json").stdout.decode("ascii"))["tables"][0]
    assert (table["table"], table["snapshot_id"]) == (TEXT, "4611686018427387905")


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("query", "many", "--format", "csv"),
        ("query", "many", "--json"),
        ("query", "many", "--limit", "50000"),
    ],
)
def test_a_reader_that_has_gone_ends_the_verb_in_silence_with_its_own_code(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    ended = run(tmp_path, *words, shell="| true" if words == ("status",) else "| head -c 20")
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_closed_streams_break_no_verb_and_no_file_takes_their_place(tmp_path: Path) -> None:
    ended = run(tmp_path, "status", shell="<&- >&- 2>&-")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


@pytest.mark.parametrize("words", [("status", "--json"), ("query", "x", "--format", "csv")])
def test_a_result_that_cannot_be_written_is_a_failure_with_a_sentence(tmp_path: Path, words: tuple[str, ...]) -> None:
    ended = run(tmp_path, *words, shell="> /dev/full")
    assert ended.returncode == 1
    assert b"the disk is full" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_statement_on_stdin_is_utf8_in_each_encoding(tmp_path: Path) -> None:
    ended = run(tmp_path, "query", "-", encoding="ascii", input="select 'ü'".encode())
    assert ended.returncode == 0, ended.stderr
