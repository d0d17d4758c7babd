"""Turns a failure of one dataset or table into a problem of the report, so that the work on the others continues."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from compactor import diagnose
from compactor.reports.report import Problem

log = logging.getLogger(__name__)

_AGAIN = "run it again, which is always safe"


def of_error(subject: str, error: Exception, *, fails: bool = True) -> Problem:
    """The problem that an error is: its sentence, as what is wrong and the next step."""
    sentence = diagnose.sentence(error).replace("\n", "; ").removeprefix(f"{subject}: ")
    wrong, _, step = sentence.partition("; ")
    return Problem(subject, wrong, step or _AGAIN, fails=fails)


@contextmanager
def collected(problems: list[Problem], subject: str) -> Iterator[None]:
    """Adds what fails in the body to the problems. A stop of the program passes.

    Args:
        subject: the dataset, table or place that the body is about.
    """
    try:
        yield
    except Exception as error:
        diagnose.raise_if_stopped(error)
        problem = of_error(subject, error)
        problems.append(problem)
        log.debug("the traceback of %s", problem, exc_info=error)
