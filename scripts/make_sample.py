"""Writes a seeded, realistic export to try the compactor on. The same arguments give the same bytes.

    python scripts/make_sample.py OUT                 writes OUT/exports
    python scripts/make_sample.py OUT --replace       delivers one of its files again, with one more record

A snapshot of all state comes first, then some days of changes and events. As in real deliveries, there are duplicates,
late records and lines that cannot be read. The snapshot is repeated halfway, and an old upsert of one identifier
arrives after its delete. The summary says what a compactor must find. Memory grows with fans, not with events.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sample_feed import DAY, HOUR, SECOND, Feed, Record, digest, encode, stamp
from sample_world import Tie, World

PROFILES, IDENTITIES, MERGES, EVENTS = DATASETS = (
    "fan_profiles",
    "fan_identity_graph",
    "fan_profile_merges",
    "fan_track_events",
)
MATCH_HOUR = 19  # of every second day


@dataclass(frozen=True)
class Plan:
    """What to generate. `start`: the first time, in milliseconds since 1970."""

    seed: int
    start: int
    hours: int
    fans: int
    events: int
    bad_lines: int


class Export:
    """Writes the four datasets of a world, hour by hour."""

    def __init__(self, exports: Path, plan: Plan) -> None:
        self._plan = plan
        self._world = World(plan.seed)
        self._rng = random.Random(f"{plan.seed}:export")
        self._feeds = {dataset: Feed(exports, dataset, plan.seed) for dataset in DATASETS}
        # Hour -> what to deliver at its start, given that time: late records and bad lines.
        self._scheduled: defaultdict[int, list[Callable[[int], None]]] = defaultdict(list)
        self._changes = dict.fromkeys(DATASETS, 0)
        self._step = 0

    def write(self) -> dict[str, dict[str, int]]:
        """Writes all files. Returns the counts of each dataset."""
        plan = self._plan
        self._populate()
        self._plan_late_upsert()
        self._plan_bad_lines()
        for hour, events in enumerate(events_by_hour(plan.hours, plan.events)):
            start = plan.start + hour * HOUR
            if hour in (0, plan.hours // 2):
                self._snapshot(start, rerun=hour > 0)
            self._feeds[PROFILES].expect(events // 10)
            self._feeds[IDENTITIES].expect(events // 20)
            self._feeds[MERGES].expect(events // 200)
            self._feeds[EVENTS].expect(events)
            for deliver in self._scheduled.pop(hour, []):
                deliver(start + 30 * SECOND)
            for i in range(events):
                self._live(hour, start + 60 * SECOND + i * (HOUR - 60 * SECOND) // events)
        for feed in self._feeds.values():
            feed.close()
        return self._summary()

    def _populate(self) -> None:
        """Adds the fans and the merges of the past two years."""
        world, plan = self._world, self._plan
        for _ in range(plan.fans):
            world.sign_up(plan.start - self._rng.randint(1 * DAY, 730 * DAY))
        for number in range(max(1, plan.fans // 40)):
            gone = digest(plan.seed, "gone", number)
            world.merged(gone, world.some_fan(), plan.start - self._rng.randint(1 * DAY, 730 * DAY))

    def _snapshot(self, at: int, *, rerun: bool) -> None:
        """Delivers every row. A rerun repeats the same ids with a later emission, so they change nothing."""
        world, ties = self._world, [tie for tie in self._world.ties.values() if tie.live]
        profiles, identities, merges = (self._feeds[name] for name in (PROFILES, IDENTITIES, MERGES))
        profiles.expect(len(world.active))
        for fan in world.active:
            (profiles.again if rerun else profiles.new)(at, world.profile(fan, at))
        identities.expect(len(ties))
        for tie in ties:
            (identities.again if rerun else identities.new)(at, tie.record(at))
        merges.expect(len(world.merges))
        for merge in world.merges:
            (merges.again if rerun else merges.new)(at, merge | {"emittedAt": stamp(at)})

    def _live(self, hour: int, at: int) -> None:
        """Delivers one event, and at fixed steps a change, so that even a small sample has one of each kind."""
        world, step = self._world, self._step
        self._step += 1
        event = world.event(world.some_fan(), at, late=step % 50 == 7, newer_app=2 * hour >= self._plan.hours)
        self._feeds[EVENTS].new(at, event)
        if step % 10 == 5:
            fan = world.some_fan()
            world.change_traits(fan, at)
            self._change(PROFILES, hour, at, world.profile(fan, at))
        if step % 50 == 20:
            self._change(IDENTITIES, hour, at, world.change_identifiers(world.some_fan(), at).record(at))
        if step % 100 == 30:
            fan = world.sign_up(at)
            self._change(PROFILES, hour, at, world.profile(fan, at))
            for tie in world.ties_of(fan):
                self._change(IDENTITIES, hour, at, tie.record(at))
        if step % 200 == 50 and (merge := world.merge(at)):
            record, ties = merge
            self._change(MERGES, hour, at, record)
            for tie in ties:
                self._change(IDENTITIES, hour, at, tie.record(at))

    def _change(self, dataset: str, hour: int, at: int, record: Record) -> None:
        """Delivers a change now, or every 40th days later, after newer ones."""
        feed, last_hour = self._feeds[dataset], self._plan.hours - 1
        self._changes[dataset] += 1
        if self._changes[dataset] % 40 == 1 and hour < last_hour:
            later = min(hour + self._rng.randint(24, 60), last_hour)
            self._scheduled[later].append(partial(feed.new, record=record))
        else:
            feed.new(at, record)

    def _plan_late_upsert(self) -> None:
        """Schedules a delete of an identifier and, hours later, an upsert that is older than the delete."""
        world, hours, feed = self._world, self._plan.hours, self._feeds[IDENTITIES]
        deleted = self._plan.start + hours // 4 * HOUR
        upsert = Tie("email", "deleted@example.com", world.active[0].rover_id, deleted - HOUR, world.new_id())
        delete = replace(upsert, updated=deleted, record_id=world.new_id(), live=False)
        self._scheduled[hours // 4].append(partial(feed.new, record=delete.record(delete.updated)))
        self._scheduled[hours * 3 // 4].append(partial(feed.new, record=upsert.record(upsert.updated)))

    def _plan_bad_lines(self) -> None:
        """Spreads bad lines over the hours, the datasets and the kinds of faults."""
        for number in range(self._plan.bad_lines):
            self._scheduled[(number + 1) * 7 % self._plan.hours].append(partial(self._deliver_bad, number))

    def _deliver_bad(self, number: int, at: int) -> None:
        feed = self._feeds[DATASETS[number % len(DATASETS)]]
        if not feed.last:  # no event has happened yet
            feed = self._feeds[PROFILES]
        feed.bad(at, spoiled(feed.last, number))

    def _summary(self) -> dict[str, dict[str, int]]:
        counts = {dataset: asdict(feed.counts) for dataset, feed in self._feeds.items()}
        counts[PROFILES]["current_rows"] = self._world.fans  # a fan that was merged into another keeps the last profile
        counts[IDENTITIES]["current_rows"] = sum(tie.live for tie in self._world.ties.values())
        counts[MERGES]["current_rows"] = len(self._world.merges)  # a fan is merged into another once
        counts[EVENTS]["current_rows"] = counts[EVENTS]["distinct"]
        return counts


def events_by_hour(hours: int, events: int) -> list[int]:
    """Quiet nights, busier days, and on every second day a match; the sum is `events`."""
    weights = [1 + 8 * (8 <= hour % 24 <= 22) + 60 * (hour % 48 == MATCH_HOUR) for hour in range(hours)]
    bounds = [events * sum(weights[:hour]) // sum(weights) for hour in range(hours + 1)]
    return [bounds[hour + 1] - bounds[hour] for hour in range(hours)]


def spoiled(line: bytes, number: int) -> bytes:
    """A copy of a good line with one of five faults, so that it cannot be loaded."""
    record = json.loads(line) | {"id": digest("bad", number)}
    faulty: list[Any] = [
        None,
        record | {"version": 99},
        {name: value for name, value in record.items() if name != "id"},
        record | {"emittedAt": "yesterday evening"},
        [record["id"], "not an object"],
    ]
    chosen = faulty[number % len(faulty)]  # None: the line is cut off
    return line.partition(b'"emittedAt"')[0] if chosen is None else encode(chosen).encode()


def replace_newest(out: Path) -> dict[str, Any]:
    """Delivers the newest file of events again under its own key, with one record more."""
    files = (out / "exports" / EVENTS).glob("date=*/hour=*/*.ndjson.gz")
    path = max(files, key=lambda path: path.name, default=None)
    if path is None:
        raise SystemExit(f"{out / 'exports'} has no file of events to replace")
    lines = gzip.decompress(path.read_bytes()).splitlines()
    written = datetime.strptime(path.name.split("-")[1], "%Y%m%dT%H%M%S%z")
    at = int(written.timestamp()) * SECOND
    world = World(seed=-len(lines))  # ids that no record of a sample has
    lines.append(encode(world.event(world.sign_up(at), at, late=False, newer_app=True)).encode())
    staging = out / ".replacement"
    staging.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", mtime=0))
    staging.replace(path)
    return {"replaced": path.relative_to(out).as_posix(), "lines_before": len(lines) - 1, "lines": len(lines)}


def table(counts: dict[str, dict[str, int]]) -> str:
    """The summary for people."""
    columns = list(counts[PROFILES])
    rows = [["dataset", *(column.replace("_", " ") for column in columns)]]
    rows += [[dataset, *(f"{counts[dataset][column]:,}" for column in columns)] for dataset in DATASETS]
    return "\n".join(f"{name:<20}" + "".join(f"{cell:>14}" for cell in cells) for name, *cells in rows)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="directory to write to")
    parser.add_argument("--seed", type=int, default=7, help="another seed, another export (default %(default)s)")
    parser.add_argument("--days", type=at_least(1), default=3, help="days of changes (default %(default)s)")
    parser.add_argument("--fans", type=at_least(1), default=2000, help="fans at the start (default %(default)s)")
    parser.add_argument("--events", type=at_least(0), default=40_000, help="distinct events (default %(default)s)")
    parser.add_argument("--start", type=date.fromisoformat, default="2026-11-01", help="default %(default)s")
    parser.add_argument("--bad-lines", type=at_least(0), default=5, help="unreadable lines (default %(default)s)")
    parser.add_argument("--replace", action="store_true", help="only replace the newest file, see above")
    parser.add_argument("--force", action="store_true", help="overwrite an existing OUT/exports")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    arguments = parser.parse_args(argv)
    if arguments.replace and not (arguments.out / "exports").is_dir():
        parser.error(f"{arguments.out / 'exports'} does not exist: write a sample first, without --replace")
    return arguments


def at_least(minimum: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if int(text) < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}")
        return int(text)

    return whole_number


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    out, exports = arguments.out, arguments.out / "exports"
    if arguments.replace:
        result = replace_newest(out)
        text = f"{result['replaced']} replaced: {result['lines_before']} -> {result['lines']} lines"
        print(json.dumps(result) if arguments.json else text)
        return
    if exports.exists() and not arguments.force:
        print(f"{exports} exists already; nothing written (--force overwrites it)", file=sys.stderr)
        return
    start = datetime.combine(arguments.start, datetime.min.time(), UTC)
    plan = Plan(
        seed=arguments.seed,
        start=int(start.timestamp()) * SECOND,
        hours=arguments.days * 24,
        fans=arguments.fans,
        events=arguments.events,
        bad_lines=arguments.bad_lines,
    )
    # Written aside and renamed, so that an interrupted run leaves no partial export.
    staging = out / ".exports-unfinished"
    shutil.rmtree(staging, ignore_errors=True)
    counts = Export(staging, plan).write()
    if exports.exists():
        shutil.rmtree(exports)
    staging.rename(exports)
    print(json.dumps({"exports": str(exports), "datasets": counts}) if arguments.json else table(counts))


if __name__ == "__main__":
    main()
