"""The words that this project does not use, and what it says instead.

Docs, comments and messages are in plain English with the standard terms of the field. Each entry is a riddle that a
reader once had to decode. A pattern is a regular expression; a space in it also matches a line break.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """`catches` is a sentence that the pattern must find, `passes` one that looks alike and is fine."""

    pattern: str
    instead: str
    catches: str
    passes: str

    def compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern.replace(" ", r"\s+"), re.IGNORECASE)


_EACH = "dataset|file|view|line|table|batch|object|level|commit|run"

WORDS = (
    Word(
        r"\b(?:tell|tells|telling|told)\b",
        "report, log, warn, show; distinguish",
        "The run tells what it did.",
        "An intelligent operator stays in a hotel.",
    ),
    Word(
        r"\b(?:no|any|gives|without) word of\b",
        "report, log, warn",
        "There is no word of it in the log.",
        "The first word of the line is its level.",
    ),
    Word(
        r"\b(?:stand|stands|stood) (?:once|twice|more than once)\b|\bthe same twice\b",
        "duplicate; is there once",
        "An id stands\ntwice in the history.",
        "The placeholder stands for a name that is given twice.",
    ),
    Word(r"\bdue\b(?! to\b| dates?\b)", "expected", "These rows are due.", "The failure is due to a full disk."),
    Word(r"\bwanted\b", "expected; requested", "The wanted columns are read.", "Unwanted columns are not read."),
    Word(
        r"\b(?:mend|mends|mended|mending)\b|\bput(?:s|ting)?(?: it| them)? right\b",
        "fix, repair, correct",
        "Mend the registry, and put it right.",
        "We recommend to amend the commit and to put the right type there.",
    ),
    Word(
        rf"\b(?:a|one)(?: \w+)? (?:file|line|row|object|folder|statement|thread|module|frame) a (?:{_EACH})\b"
        r"|\b(?:lines|files|bytes|rows) a (?:file|dataset|line|batch)\b"
        r"|\b(?:requests|commits) a (?:commit|dataset|batch)\b",
        "one file per dataset; lines per file",
        "The registry is one YAML file a dataset.",
        "A run writes a file for a dataset, and a line of a table.",
    ),
    Word(
        r"\bin vain\b",
        "without effect; after N attempts",
        "It was tried in vain.",
        "It is written in the vein of a log.",
    ),
    Word(
        r"\btime after time\b",
        "after N attempts",
        "Another writer committed first, time after time.",
        "It runs at this time, after that time never.",
    ),
    Word(
        r"\b(?:by|to) the letter\b|\bstrict (?:path|reader|reading|parser)\b",
        "exact; the exact path",
        "Odd lines are read by the letter.",
        "The letter T separates date and time, and mypy is strict.",
    ),
    Word(
        r"\bnotes? of (?:a|the|this|that) (?:batch|commit)\b|\b(?:commit|batch)(?:'s)? note\b"
        r"|\bthe note (?:is|of|says|names|exists|that|has)\b",
        "commit intent",
        "The note names the files of the batch.",
        "Note that the notes of the release are short.",
    ),
    Word(r"\bfrontiers?\b", "watermark", "The frontier is the newest hour.", "The front of the queue is empty."),
    Word(
        r"\bshape\b|\b(?:distinct|few|new|old|two) shapes\b",
        "table version; key pattern of a line; columns",
        "The tables have the newest shape.",
        "Docstrings give types and shapes; the table was reshaped.",
    ),
    Word(r"\bmoments?\b", "timestamp, order value; time", "It was there at that moment.", "It has the momentum."),
    Word(
        r"\bwhoever\b|\bwho comes (?:first|second|next)\b",
        "the next run; the run that",
        "It is finished by whoever comes next.",
        "However, the person who commits is known.",
    ),
    Word(
        r"\bhalf[- ]done\b",
        "partial; nothing partial was published",
        "Nothing half-done is visible.",
        "Half of the work is done.",
    ),
    Word(
        r"\b(?:go|goes|went|gone|going) on\b",
        "continue, resume",
        "The run goes\non with the others.",
        "The run goes only to the next object.",
    ),
    Word(
        r"\bthe batch's own\b",
        "adopt",
        "It makes the rows the batch's own.",
        "The batch has its own rows.",
    ),
    Word(r"\bmisfits?\b", "mismatch", "A misfit is a missing field.", "The registry does not match."),
)
