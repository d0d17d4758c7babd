"""A run over several datasets: each ends on its own, and each has its row in the table of runs.

What fails for one dataset becomes a problem of the report, and the run continues with the next one. A dataset with news
is recorded at once, because its row says what the next run has to list. The others share one commit at the end of the
run, so that a night without news costs one commit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from compactor import diagnose
from compactor.duck.relations import Relations
from compactor.errors import UnreadableError, UsageError
from compactor.lake.own_tables import RUNS
from compactor.publish import run_log
from compactor.publish.run_log import LastRun, Run, Tally
from compactor.registry.dataset import Dataset
from compactor.reports.problems import collected, of_error
from compactor.reports.report import DatasetReport, Problem, RunReport
from compactor.request_counts import Requests

log = logging.getLogger(__name__)


class Night:
    """The datasets of one run of a verb that loads.

    As a context it records all that was not recorded yet. If the body fails as a whole, that is the failure of each
    dataset that has not ended. A run that is stopped records nothing more.

    Attributes:
        problems: what needs a person.
    """

    def __init__(self, run: Run, datasets: Sequence[Dataset]) -> None:
        self.run = run
        self.problems: list[Problem] = []
        self._waiting = {dataset.name: (dataset, Tally()) for dataset in datasets}
        self._reports: list[DatasetReport] = []
        self._refused: list[UsageError] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            diagnose.raise_if_stopped(error)
            ended = {report.dataset for report in self._reports}
            for name, (_, tally) in self._waiting.items():
                if name not in ended:
                    tally.error = diagnose.sentence(error)
        if error is None or isinstance(error, Exception):
            self._record_rest()

    def each(self, load: Callable[[Dataset, Tally], None]) -> None:
        """Loads one dataset after the other."""
        for dataset in [dataset for dataset, _ in self._waiting.values()]:
            began, tally = time.monotonic(), Tally()
            self._waiting[dataset.name] = (dataset, tally)
            try:
                load(dataset, tally)
            except Exception as error:  # noqa: BLE001  whatever it is, the other datasets are loaded
                self._failed(dataset, tally, error)
            self._reports.append(tally.report(dataset, seconds=time.monotonic() - began))

    def note(self, problems: Sequence[Problem]) -> None:
        """Adds problems of the run as a whole."""
        for problem in problems:
            if not problem.fails:
                log.warning("%s", problem)
        self.problems += problems

    def last(self, relations: Relations, dataset: Dataset) -> LastRun | None:
        """The newest run before this one. None, so that all is listed, where the table of runs cannot be read."""
        try:
            return run_log.last_run(relations, self.run.lake, dataset.name)
        except UnreadableError as error:
            problem = of_error(RUNS, error)
            if problem not in self.problems:
                log.warning("listing all hours, because %s", error)
                self.problems.append(problem)
            return None

    def record(self, dataset: Dataset, tally: Tally) -> None:
        """Records a dataset that had news. What fails here is tried again at the end of the run."""
        try:
            run_log.record(self.run, [(dataset, tally)])
        except Exception as error:  # noqa: BLE001  the dataset is loaded
            diagnose.raise_if_stopped(error)
            log.warning(
                "%s: its row in %s waits for the end of the run: %s", dataset.name, RUNS, diagnose.sentence(error)
            )
        else:
            del self._waiting[dataset.name]

    def report(self, requests: Requests | None = None) -> RunReport:
        """The report of the run. Raises UsageError where the registry or the config was the fault of all failures."""
        if self._refused and len(self._refused) == len(self._reports):
            if len(self._refused) == 1:
                raise self._refused[0]
            raise UsageError("\n".join(dict.fromkeys(map(str, self._refused))))
        return self.run.report(self._reports, problems=list(dict.fromkeys(self.problems)), requests=requests)

    def _failed(self, dataset: Dataset, tally: Tally, error: Exception) -> None:
        diagnose.raise_if_stopped(error)
        problem = of_error(dataset.name, error)
        self.problems.append(problem)
        tally.error = f"{problem.wrong}; {problem.step}"
        self._waiting[dataset.name] = (dataset, tally)  # also if it was recorded already: its row says why it failed
        self.run.progress.abandon()
        if isinstance(error, UsageError):
            self._refused.append(error)
        log.warning("%s failed, which stops no other dataset: %s", dataset.name, tally.error)
        log.debug("the traceback", exc_info=error)

    def _record_rest(self) -> None:
        if self._waiting:
            with collected(self.problems, RUNS):
                run_log.record(self.run, list(self._waiting.values()))
