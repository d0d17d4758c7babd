"""What the rejected lines of a batch say together: their reasons, unknown versions, and files that hold no records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb

from compactor.decode import content
from compactor.decode.decoded import Decoded
from compactor.decode.rejects import DEPENDS_ON_REGISTRY, UNKNOWN_VERSION
from compactor.duck.relations import Relation
from compactor.duck.sql import literal
from compactor.registry.dataset import may_be_version

MOST_VERSIONS = 10
_ROWS = 1000
_NO_LIKENESS = ""


@dataclass
class Rejections:
    """Rejected lines in numbers. Bounded, whatever the lines are.

    Attributes:
        reasons: lines by reason.
        versions: lines by (unknown version, why it is unknown): the most frequent of each batch. The version is empty
            if it may be a value.
        files: by what files look like whose lines are mostly no JSON (empty: nothing known), their number and the first
            of their keys.
    """

    reasons: Counter[str] = field(default_factory=Counter)
    versions: Counter[tuple[str, str]] = field(default_factory=Counter)
    files: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, con: duckdb.DuckDBPyConnection, decoded: Decoded[object]) -> None:
        """Adds the rejected lines of a batch."""
        rejected = decoded.rejected
        self.reasons.update(dict(con.execute(f"SELECT reason, count(*) FROM {rejected} GROUP BY 1").fetchall()))
        found = con.execute(
            f"SELECT any_value(version), detail, count(*) AS n FROM {rejected}"
            f" WHERE reason = {literal(UNKNOWN_VERSION)} GROUP BY detail ORDER BY n DESC, detail LIMIT {MOST_VERSIONS}"
        ).fetchall()
        for version, detail, lines in found:
            self.versions[str(version) if may_be_version(version) else "", detail] += lines
        self._add_files(con, rejected, decoded.files, decoded.lines)

    @property
    def beyond_replay(self) -> int:
        """Lines that no registry can make records."""
        return sum(lines for reason, lines in self.reasons.items() if reason not in DEPENDS_ON_REGISTRY)

    def _add_files(
        self, con: duckdb.DuckDBPyConnection, rejected: Relation, files: Relation, lines: Mapping[int, int]
    ) -> None:
        found = con.execute(
            "SELECT file_no, any_value(key), count(*), min(line_no), arg_min(left(raw, 4096), line_no)"
            f" FROM {rejected} JOIN {files} USING (file_no) WHERE reason NOT IN {DEPENDS_ON_REGISTRY}"
            " GROUP BY file_no ORDER BY 2"
        )
        while rows := found.fetchmany(_ROWS):
            for file_no, key, count, first, beginning in rows:
                has_mark = first == 1 and beginning.startswith(content.MARK)
                if has_mark or 2 * count > lines.get(file_no, 0):
                    what = content.likeness(beginning) or ("text with a byte order mark" if has_mark else _NO_LIKENESS)
                    number, example = self.files.get(what, (0, key))
                    self.files[what] = number + 1, example
