"""The Python API: the examples of its page, and that it calls what the command line calls."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

import compactor
from compactor.commands.init import CONFIG, REFERENCE
from tests.support.fans import Fans
from tests.support.lake import ROOT
from tests.support.lake import Lake as SmallLake

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with configs/local.yaml, as in a checkout, and a small export; it is the working directory."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    fans, source = Fans(3, fans=4), SmallLake(tmp_path / "made")
    for dataset in fans.records:
        source.deliver_unmodelled(dataset, fans.lines(dataset))
    (tmp_path / "data").mkdir()
    source.source.rename(tmp_path / "data" / "source")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_of_the_page_run_one_after_the_other(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for number, text in enumerate(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)):
        exec(compile(text, f"example {number} of docs/python.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "exit code 0" in printed
    assert "unknown dataset 'fan_profilez'; did you mean 'fan_profiles'?" in printed
    assert names["failed"] == []
    assert isinstance(names["recent"], pa.Table)


def test_a_lake_answers_in_arrow_and_pyiceberg_and_takes_one_name_as_one(sample: Path) -> None:
    lake = compactor.open(Path("configs/local.yaml"))
    report = lake.compact("fan_profiles", stop="2026-11-01")
    assert [(dataset.dataset, dataset.failed) for dataset in report.datasets] == [("fan_profiles", ())]

    rows = lake.query("select updated_at, traits, rover_id from fan_profiles order by rover_id")
    table = lake.table("fan_profiles").scan().to_arrow()

    assert rows.schema.field("updated_at").type == pa.timestamp("us", "UTC")
    assert sorted(rows["rover_id"].to_pylist()) == sorted(table["rover_id"].to_pylist())
    with pytest.raises(compactor.MissingTableError):
        lake.table("fan_profilez")
    with pytest.raises(compactor.UsageError, match="one SELECT"):
        lake.query("drop table fan_profiles")


def test_init_writes_a_config_that_opens_and_overwrites_nothing(tmp_path: Path) -> None:
    report = compactor.init(tmp_path / "plain")
    lake = compactor.open(report.config)
    assert lake.config.source.url == str(tmp_path / "plain" / "data" / "source")
    assert lake.config.warehouse == str(tmp_path / "plain" / "data" / "warehouse")
    assert sorted(lake.registry.datasets) == sorted(path.stem for path in (ROOT / "configs/schemas").iterdir())
    compactor.open(tmp_path / "plain" / REFERENCE)

    before = Path(report.config).read_bytes()
    with pytest.raises(compactor.UsageError, match=rf"{CONFIG}, .*{REFERENCE}: already there"):
        compactor.init(tmp_path / "plain", aws=True, registry=True)
    assert Path(report.config).read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == sorted([CONFIG, REFERENCE])


def test_init_copies_the_registry_and_the_views_and_the_config_refers_to_the_copies(tmp_path: Path) -> None:
    lake = compactor.open(compactor.init(tmp_path / "lake", registry=True).config)
    for name in ("schemas", "views"):
        copies = tmp_path / "lake" / name
        assert getattr(lake.config, name) == copies
        originals = ROOT / "configs" / name
        assert {path.name: path.read_bytes() for path in copies.iterdir()} == {
            path.name: path.read_bytes() for path in originals.iterdir()
        }


def test_init_for_aws_takes_its_names_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROVER_EXPORT_BUCKET", "exports")
    monkeypatch.setenv("ROVER_LAKE_BUCKET", "lake")
    report = compactor.init(tmp_path, aws=True)
    lake = compactor.open(report.config)
    assert lake.config.source.url == "s3://exports/"
    assert report.next.endswith("infer --check")


def test_a_folder_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(compactor.UsageError, match="cannot write"):
        compactor.init(tmp_path / "file" / "below")


def test_every_public_name_can_be_imported_and_is_documented() -> None:
    for name in compactor.__all__:
        value = getattr(compactor, name)
        assert inspect.getdoc(value), name
    assert set(compactor.__all__) <= set(dir(compactor))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        compactor.nothing  # noqa: B018
    for name in dir(compactor.Lake):
        if not name.startswith("_"):
            assert inspect.getdoc(getattr(compactor.Lake, name)), name
            assert f"`{name}`" in PAGE, name


def test_importing_the_package_loads_no_other_package() -> None:
    code = (
        "import sys; before = set(sys.modules); import compactor\n"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "['compactor']"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda lake: lake.drift(days=10**12), "'days' should be from 1 to 36,500"),
        (lambda lake: lake.drift(min_share=float("nan")), "'min_share' should be from 0 to 100"),
        (lambda lake: lake.infer(objects=0), "'objects' should be from 1 to 1,000,000"),
        (lambda lake: lake.infer_check(objects=10**30), "'objects' should be from 1 to 1,000,000"),
    ],
)
def test_a_number_outside_of_its_limits_is_a_usage_error(
    tmp_path: Path, call: Callable[[compactor.Lake], object], words: str
) -> None:
    (tmp_path / "c.yaml").write_text("source: {url: in}\nwarehouse: lake\n")
    with pytest.raises(compactor.UsageError, match=words):
        call(compactor.open(tmp_path / "c.yaml"))
