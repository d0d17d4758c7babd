"""Each number of the config has limits, names are what all engines take, and only a small regular file is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from compactor import config, yaml_file
from compactor.errors import CompactorError, ConfigError

# Key -> values that are refused, the sentence, and values at the limits.
NUMBERS: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "source.max_attempts": (("0", "-1", "1001", "9" * 400), "from 1 to 1,000", ("1", "1000")),
    "source.connect_timeout": (("0", "-1", "1e300", "nan", "inf"), "from 0.001 to 3,600", ("0.001", "3600")),
    "source.read_timeout": (("0", "1e300", "-inf"), "from 0.001 to 3,600", ("0.001", "3600")),
    "source.readers": (("0", "1000000"), "from 1 to 256", ("1", "256")),
    "source.window_hours": (("0", "1000000000000"), "from 1 to 876,000", ("1", "876000")),
    "limits.line_bytes": (("0", "1GiB", "0.1B"), "from 1B to 256MiB", ("1", "256MiB")),
    "limits.file_bytes": (("0", "17TiB", "1" + "0" * 400), "from 1B to 16TiB", ("1", "16TiB")),
    "limits.lines": (("0", "1000000001"), "from 1 to 1,000,000,000", ("1", "1000000000")),
    "resources.memory": (("0", "1", "1023KiB", "1PiB", "9" * 400 + "MiB"), "from 1MiB to 16TiB", ("1MiB", "16TiB")),
    "resources.threads": (("0", "-4", "1000000000"), "from 1 to 1,024", ("1", "1024")),
    "batch.objects": (("0", "10000001"), "from 1 to 10,000,000", ("1", "10000000")),
    "batch.bytes": (("0", "2TiB"), "from 1B to 1TiB", ("1", "1TiB")),
    "spark.batch.objects": (("0", "10000001"), "from 1 to 10,000,000", ("1", "10000000")),
    "spark.batch.bytes": (("0", "2TiB"), "from 1B to 1TiB", ("1", "1TiB")),
    "tables.target_file_bytes": (("0", "1KiB", "1TiB"), "from 4KiB to 16GiB", ("4KiB", "16GiB")),
    "commit.attempts": (("0", "1000000"), "from 1 to 1,000", ("1", "1000")),
}
NAMES: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "namespace": (
        ("Rover", "my-lake", "a.b", "a b", "ä", "''", "../x", "x" * 256, '"a\\nb"'),
        "1 to 255 of a-z, 0-9 and _, which all engines take",
        ("rover_2", "x" * 255),
    ),
    "source.endpoint": (("minio:9000", "file:///etc", "'http://'"), "http://host:port", ("http://minio:9000",)),
    "source.region": (("US East", "'../x'"), "a region, such as us-east-1", ("us-east-1",)),
    "source.role_arn": (("reader",), "arn:aws:iam::ACCOUNT:role/NAME", ("arn:aws:iam::123456789012:role/reader",)),
    "source.role_session_name": (("a b", "x", "x" * 65), "2 to 64 of letters", ("compactor@night",)),
    "source.external_id": (("x", "a b"), "2 to 1,224 of letters", ("team-7",)),
    "catalog.name": (("x" * 256,), "at most 255 characters", ("rover",)),
}


def load(folder: Path, key: str, value: str) -> config.Config:
    """A config with one key set."""
    *sections, name = key.split(".")
    lines = ["warehouse: lake"]
    if sections != ["source"]:
        lines.append("source: {url: exports}")
    lines += ["  " * depth + f"{section}:" for depth, section in enumerate(sections)]
    lines.append("  " * len(sections) + f"{name}: {value}")
    if sections == ["source"]:
        lines.append("  url: exports")
    path = folder / "c.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return config.load(path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [(key, value, words) for key, (wrong, words, _) in {**NUMBERS, **NAMES}.items() for value in wrong],
)
def test_a_value_outside_its_limits_is_refused_with_its_key_and_the_limits(
    tmp_path: Path, key: str, value: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, key, value)
    (problem,) = caught.value.problems
    assert f"'{key}' should" in problem
    assert words in problem or "should be a size" in problem


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, (_, _, right) in {**NUMBERS, **NAMES}.items() for value in right]
)
def test_a_value_at_its_limits_is_taken(tmp_path: Path, key: str, value: str) -> None:
    load(tmp_path, key, value)


@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_of_thousands_of_digits_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=f"'{key}' should"):
        load(tmp_path, key, "9" * 5000)


def numbers(model: type[BaseModel], prefix: str = "") -> set[str]:
    """The keys of a config whose value is a number."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= numbers(kind, f"{prefix}{name}.")
        elif any(number in str(kind) for number in ("int", "float", "ByteSize")):
            found.add(f"{prefix}{name}")
    return found


def test_each_number_of_the_config_has_limits() -> None:
    assert numbers(config.Config) == set(NUMBERS)


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/dev/tty", "pipe"])
def test_a_config_that_is_no_file_ends_at_once_with_a_sentence(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is a device or a pipe; save the text as a file"):
        config.load(tmp_path / name)


@pytest.mark.parametrize("key", ["warehouse", "resources: {temp_dir"])
def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "a").touch()
    text = "source: {url: in}\n" + ("warehouse: lake\n" if key != "warehouse" else "")
    (tmp_path / "c.yaml").write_text(f"{text}{key}: a{'}' if '{' in key else ''}\n")
    with pytest.raises(ConfigError, match="should be a folder, and is a file; name another one"):
        config.load(tmp_path / "c.yaml")


def test_a_file_too_large_to_be_a_config_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "c.yaml").open("wb") as file:
        file.truncate(1 << 40)  # it has no blocks
    with pytest.raises(ConfigError, match="is larger than 1 MiB; check that it is the right file"):
        yaml_file.load(tmp_path / "c.yaml")


def test_a_name_that_the_system_refuses_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(CompactorError, match="cannot be read: File name too long") as caught:
        config.load(tmp_path / ("x" * 300))
    assert caught.value.exit_code == 2
