"""How the command line prints the rows of a query."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow as pa
import pytest

from compactor.errors import SourceError
from tests.support.fake_verbs import Lake, invoke

pytestmark = pytest.mark.usefixtures("logging_restored")


def batches(*values: int) -> pa.RecordBatchReader:
    schema = pa.schema([("n", pa.int64())])
    return pa.RecordBatchReader.from_batches(schema, [pa.record_batch([[value]], schema=schema) for value in values])


@pytest.mark.parametrize(
    ("options", "stdout"),
    [
        (["--format", "csv"], "n\n1\n2\n"),
        (["--format", "json"], '{"columns": ["n"], "rows": [{"n": 1}, {"n": 2}]}\n'),
        (["--json"], '{"columns": ["n"], "rows": [{"n": 1}, {"n": 2}]}\n'),
        ([], "n\n-\n1\n2\n"),
    ],
)
def test_query_prints_its_rows_in_the_form_asked_for(lake: Lake, options: list[str], stdout: str) -> None:
    lake.answer("query", batches(1, 2))

    result = invoke("query", *options, "select n")

    assert (result.exit_code, result.stdout, result.stderr) == (0, stdout, "")
    assert lake.call("query.query")[0] == (lake.config, "the registry", "select n")


def test_query_says_on_stderr_that_a_table_was_cut(lake: Lake) -> None:
    lake.answer("query", batches(1, 2))

    result = invoke("query", "--limit", "1", "select n")

    assert result.stdout == "n\n-\n1\n"
    assert result.stderr == "first 1 rows; --limit shows more, --format csv all of them\n"


def test_query_reads_its_statement_from_stdin(lake: Lake) -> None:
    lake.answer("query", batches())

    invoke("query", "-", input="select 5\n")

    assert lake.call("query.query")[0][2] == "select 5\n"


def test_a_query_that_fails_half_way_leaves_one_json_object(lake: Lake) -> None:
    def rows() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"n": [1]})
        raise SourceError("the file has gone")

    lake.answer("query", pa.RecordBatchReader.from_batches(pa.schema([("n", pa.int64())]), rows()))

    result = invoke("query", "--json", "select n")

    assert json.loads(result.stdout)["exit_code"] == result.exit_code == 1
