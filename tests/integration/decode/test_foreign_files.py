"""Whole files that are not lines of JSON: the report says what they look like, and offers no useless replay."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from compactor.cli import render
from compactor.commands.replay import replay
from compactor.progress import NullProgress
from compactor.reports.report import RunReport
from tests.support.bad_lines import PERSON, good_lines
from tests.support.lake import Lake
from tests.support.planted import PROFILES, assert_all_sound

LINES = b"".join(line + b"\n" for line in good_lines("g", 30))
RECORDS = [json.loads(line) for line in LINES.splitlines()]


def _parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"id": ["a"]}), out)
    return out.getvalue()


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a.ndjson", LINES)
    return out.getvalue()


UNREADABLE = {  # bytes of an object -> what the report says of it
    "gzipped twice": (
        gzip.compress(gzip.compress(LINES)),
        "was compressed twice; it stays pending until it is delivered again, compressed once",
    ),
    "a zip file in gzip": (gzip.compress(_zip()), "holds a zip file instead of lines of JSON"),
    "a Parquet file in gzip": (gzip.compress(_parquet()), "holds a Parquet file instead of lines of JSON"),
    "bzip2 in gzip": (gzip.compress(bz2.compress(LINES)), "holds a bzip2 file instead of lines of JSON"),
    "xz in gzip": (gzip.compress(lzma.compress(LINES)), "holds an xz file instead of lines of JSON"),
    "a zip file": (_zip(), "is not a sound gzip file: it looks like a zip file"),
    "a Parquet file": (_parquet(), "is not a sound gzip file: it looks like a Parquet file"),
    "lines without gzip": (LINES, "is not a sound gzip file: it looks like JSON that is not compressed"),
    "a page without gzip": (
        b"<!DOCTYPE html>\n<html><body>503</body></html>\n",
        "is not a sound gzip file: it looks like an HTML or XML page",
    ),
}
QUARANTINED = {  # uncompressed content -> what the report says of it
    "an array in one line": (json.dumps(RECORDS).encode(), "looked like a JSON array"),
    "an array of lines": (b"[\n" + LINES.replace(b"}\n", b"},\n")[:-2] + b"\n]\n", "looked like a JSON array"),
    "a pretty array": (json.dumps(RECORDS, indent=2).encode(), "looked like a JSON array"),
    "a pretty object": (
        json.dumps(RECORDS[0], indent=2).encode(),
        "looked like JSON that is written over several lines",
    ),
    "CR alone": (LINES.replace(b"\n", b"\r"), "looked like lines that end with a carriage return alone"),
    "CSV": (b"id,version,roverID\r\na,1,f1\r\nb,1,f2\r\n", "looked like CSV"),
    "a page": (b"<html>\n<body>AccessDenied</body>\n</html>\n", "looked like an HTML or XML page"),
    "an error of S3": (
        b'<?xml version="1.0"?>\n<Error><Code>SlowDown</Code></Error>',
        "looked like an HTML or XML page",
    ),
    "a byte order mark": (b"\xef\xbb\xbf" + LINES, "looked like text with a byte order mark"),
    "UTF-16": (LINES.decode().encode("utf-16"), "looked like UTF-16 or UTF-32 text"),
    "UTF-16, the other way": (b"\xfe\xff" + LINES.decode().encode("utf-16-be"), "looked like UTF-16 or UTF-32 text"),
    "UTF-32": (LINES.decode().encode("utf-32"), "looked like UTF-16 or UTF-32 text"),
    "UTF-16 without its mark": (LINES.decode().encode("utf-16-le"), "looked like UTF-16 or UTF-32 text"),
    "a log": (b"INFO started\nINFO stopped\n", "had hardly a line of JSON"),
}


@dataclass(frozen=True)
class Loaded:
    """A lake after one run over all of these files and a good one. `keys` are theirs by their names."""

    lake: Lake
    report: RunReport
    keys: Mapping[str, str]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    lake = Lake(tmp_path_factory.mktemp("foreign"))
    lake.deliver("fan_profiles", good_lines("sound", 3), part="sound")
    contents = {name: raw for name, (raw, _) in UNREADABLE.items()}
    contents |= {name: gzip.compress(content) for name, (content, _) in QUARANTINED.items()}
    keys = {
        name: lake.deliver_unmodelled("fan_profiles", [], part=f"p{number:02d}", raw=raw)
        for number, (name, raw) in enumerate(contents.items())
    }
    return Loaded(lake, lake.compact(datasets=PROFILES), keys)


def text_of(report: RunReport) -> str:
    out = io.StringIO()
    render.show(report, Console(file=out, width=1000, force_terminal=False, highlight=False))
    return out.getvalue()


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_of_another_format_or_encoding_stays_pending_and_is_named_for_what_it_is(
    loaded: Loaded, name: str
) -> None:
    reason = dict(loaded.report.datasets[0].failed)[loaded.keys[name]]
    assert UNREADABLE[name][1] in reason
    assert "until it is delivered again" in reason
    assert loaded.keys[name] not in {row["key"] for row in loaded.lake.ledger()}


@pytest.mark.parametrize("name", QUARANTINED)
def test_a_file_without_records_is_loaded_and_a_problem_says_what_it_looks_like(loaded: Loaded, name: str) -> None:
    assert loaded.keys[name] in {row["key"] for row in loaded.lake.ledger()}
    alike = [key for other, key in loaded.keys.items() if QUARANTINED.get(other, ("", ""))[1] == QUARANTINED[name][1]]
    (problem,) = [each for each in loaded.report.problems if QUARANTINED[name][1] in each.wrong]
    assert (problem.subject, problem.fails) == ("fan_profiles", False)
    assert problem.wrong == f"{len(alike)} of the objects {QUARANTINED[name][1]}, such as {min(alike)}"
    assert "a replay cannot read it" in problem.step


def test_sound_files_have_no_such_problem_and_all_is_counted(loaded: Loaded) -> None:
    assert len(loaded.report.problems) == len({says for _, says in QUARANTINED.values()})
    done = loaded.report.datasets[0]
    assert done.lines == done.new + done.duplicates + done.quarantined
    assert sum(done.reasons.values()) == done.quarantined == done.beyond_replay
    assert_all_sound(loaded.lake)


def test_where_no_replay_can_help_none_is_offered(loaded: Loaded) -> None:
    text = text_of(loaded.report)
    assert "nothing is lost" not in text
    assert "after fixing the registry" not in text
    assert "no replay can read" in text
    assert PERSON not in text + json.dumps(loaded.report.to_json())
    again = replay(loaded.lake.config, loaded.lake.registry, progress=NullProgress())
    assert "after fixing the registry" not in text_of(again)
    assert again.datasets[2].beyond_replay == loaded.report.datasets[0].beyond_replay


def test_the_first_line_behind_a_byte_order_mark_is_rejected_and_named(loaded: Loaded) -> None:
    (row,) = [row for row in loaded.lake.quarantine() if row["source_file"] == loaded.keys["a byte order mark"]]
    assert (row["source_line"], row["reason"]) == (1, "not_json")
    assert row["detail"] == "begins with a byte order mark, which JSON does not have"


def test_a_file_with_some_bad_lines_is_no_foreign_file(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.deliver("fan_profiles", [*good_lines("g", 5), b"oops", b"[]"])
    report = lake.compact(datasets=PROFILES)
    assert report.problems == ()
    assert report.datasets[0].reasons == {"not_json": 1, "not_object": 1}
    assert "2 lines quarantined:" in text_of(report)


def test_a_foreign_file_that_is_delivered_again_is_loaded(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.deliver_unmodelled("fan_profiles", [], raw=gzip.compress(gzip.compress(LINES)))
    assert lake.compact(datasets=PROFILES).exit_code == 1
    lake.deliver("fan_profiles", LINES.splitlines())
    assert lake.compact(datasets=PROFILES).exit_code == 0
    lake.assert_equals_model(PROFILES)


def test_an_object_of_too_many_lines_stays_pending_and_costs_no_other(tmp_path: Path) -> None:
    lake = Lake(tmp_path, settings="limits: {lines: 1000}")
    lake.deliver("fan_profiles", good_lines("g", 5), part="good")
    bomb = lake.deliver_unmodelled("fan_profiles", [], part="bomb", raw=gzip.compress(b"\n" * 10**6) * 100)
    report = lake.compact(datasets=PROFILES)
    assert dict(report.datasets[0].failed) == {
        bomb: f"{bomb}: has more than 1000 lines; raise limits.lines if it is genuine"
    }
    lake.assert_equals_model(PROFILES)
