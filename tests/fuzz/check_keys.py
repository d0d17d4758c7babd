"""Any key is that of an export or not, and any text an hour or not: as another reading of them says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from random import Random

from compactor.errors import UsageError
from compactor.source.base import Hour, key_window, source_object
from tests.fuzz.batch import Batch, Fault


def make(chance: Random) -> Batch:
    return Batch("keys", tuple(_key(chance) for _ in range(2_000)))


def _key(chance: Random) -> bytes:
    name = chance.choice(["fan_profiles", "x", "é", "a b", "", "date=2026-11-01"])
    day = chance.choice(
        [
            "2026-11-01",
            "2024-02-29",
            "2026-02-29",
            "0000-01-01",
            "0001-01-01",
            "9999-12-31",
            "2026-13-01",
            "\uff12026-11-01",
        ]
    )
    hour = chance.choice(["00", "05", "23", "24", "99", "5", "-1", "\u0663\u0663"])
    pieces = [
        *(
            "exports",
            "/",
            name,
            "/",
            "date=",
            day,
            "/",
            "hour=",
            hour,
            "/",
            name,
            "-",
            day.replace("-", ""),
            "T",
            hour,
            "0000Z",
        ),
        *(
            "-part-",
            chance.choice(["abc", "0" * 32, "", " ", "\n", "é", "\ud800", "\0", "a/b", "-part-"]),
            ".ndjson",
            ".gz",
        ),
    ]
    if chance.random() < 0.3:
        pieces = [day, chance.choice(["T", "t", " ", ""]), hour, chance.choice(["", ":00", "Z", "\n"])]
    for _ in range(chance.choice([0, 0, 1, 2, 4])):
        place = chance.randrange(len(pieces))
        match chance.randrange(4):
            case 0:
                del pieces[place : place + (len(pieces) > 1)]
            case 1:
                pieces.insert(place, chance.choice(pieces))
            case 2:
                pieces[place] = chr(chance.choice([0, 10, 32, 45, 47, 0x660, 0xD800, 0xDFFF, 0x1F600])) + pieces[place]
            case _:
                pieces[place] = pieces[place][1:]
    return "".join(pieces).encode("utf-8", "surrogatepass")


def faults(batch: Batch) -> Iterator[Fault]:
    for number, data in enumerate(batch.inputs):
        key = data.decode("utf-8", "surrogatepass")
        found, expected = source_object(key, "an-etag", 1), _export(key)
        if (found and (found.dataset, str(found.hour))) != expected:
            yield Fault("keys: an object is another", f"{key!a}: {found!a}, expected {expected!a}", number)
        if (str(hour) if (hour := Hour.of_key(key)) else None) != (expected and expected[1]):
            yield Fault("keys: of_key and source_object differ", f"{key!a}: {hour!a}", number)
        if found:
            after, before = key_window(found.dataset, found.hour, found.hour)
            if not after < key < before:
                yield Fault("keys: an object is outside its hour's window", f"{key!a}", number)
        try:
            read = str(Hour.parse(key))
        except UsageError:
            read = None
        if read != (expected_hour := _hour(key)):
            yield Fault("keys: an hour is another", f"{key!a}: {read!a}, expected {expected_hour!a}", number)


def _export(key: str) -> tuple[str, str] | None:
    """(dataset, hour) of an export's key, read without a pattern; None for any other key."""
    parts = key.split("/")
    if len(parts) != 5 or parts[0] != "exports" or not parts[2].startswith("date=") or not parts[3].startswith("hour="):
        return None
    name, file = parts[1], parts[4]
    stamp, token = file[len(name) + 1 : len(name) + 17], file[len(name) + 17 :]
    digits = stamp[:8] + stamp[9:15]
    hour = _hour(f"{parts[2][5:]}T{parts[3][5:]}")
    whole = (
        name
        and file.startswith(f"{name}-")
        and len(stamp) == 16
        and (stamp[8], stamp[15]) == ("T", "Z")
        and digits.isascii()
        and digits.isdigit()
        and token.startswith("-part-")
        and token.endswith(".ndjson.gz")
        and len(token) > len("-part-.ndjson.gz")
        and not any("\ud800" <= sign <= "\udfff" for sign in token)
    )
    return (name, hour) if whole and hour else None


def _hour(text: str) -> str | None:
    if not text.isascii() or len(text) not in (10, 13):
        return None
    text = text if len(text) == 13 else f"{text}T00"
    if not all(sign.isdigit() for sign in text[:4] + text[5:7] + text[8:10] + text[11:]):
        return None
    try:
        datetime.strptime(text.replace("t", "?"), "%Y-%m-%dT%H")  # noqa: DTZ007  only whether there is such an hour
    except ValueError:
        return None
    return text
