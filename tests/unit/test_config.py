"""What a config file may say, what it means, and how its mistakes are reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from compactor import config, yaml_file
from compactor.errors import ConfigError, UsageError

CONFIGS = Path(__file__).parents[2] / "configs"
MINIMAL = "source: {url: exports}\nwarehouse: lake\n"


def loaded(folder: Path, text: str) -> config.Config:
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return config.load(path)


def problems(folder: Path, text: str) -> list[str]:
    """The problems of a config of this text, as `line: sentence`."""
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text)
    return [problem.removeprefix(f"{folder / 'c.yaml'}:") for problem in caught.value.problems]


def keys_of(model: type[BaseModel]) -> dict[str, Any]:
    """The keys that a model declares, nested, each with its description."""
    nested: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        section: Any = field.annotation
        is_section = isinstance(section, type) and issubclass(section, BaseModel)
        nested[name] = keys_of(section) if is_section else field.description
    return nested


def outline(value: Any, like: Any) -> Any:
    """The keys of a value, as deep as `like` has sections."""
    return {key: outline(value[key], like[key]) for key in value} if isinstance(like, dict) else None


def test_two_keys_are_a_whole_config(tmp_path: Path) -> None:
    found = loaded(tmp_path, MINIMAL)
    assert found.source.window_hours == 48
    assert found.limits.line_bytes == 16 * 1024**2
    assert found.path == tmp_path / "c.yaml"


def test_folders_are_relative_to_the_config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "c.yaml").write_text("source: {url: ../in}\nwarehouse: lake\nresources: {temp_dir: /tmp/x}\n")
    monkeypatch.chdir(tmp_path)
    found = config.load(Path("etc/c.yaml"))
    assert found.source.url == str(tmp_path / "in")
    assert found.warehouse == str(tmp_path / "etc" / "lake")
    assert found.resources.temp_dir == Path("/tmp/x")
    assert found.path == Path("etc/c.yaml")


def test_registry_and_views_are_those_beside_the_config_else_the_packaged_ones(tmp_path: Path) -> None:
    found = loaded(tmp_path, MINIMAL)
    assert (found.schemas, found.views) == (config.packaged("schemas"), config.packaged("views"))
    (tmp_path / "schemas").mkdir()
    found = loaded(tmp_path, MINIMAL + "views: ~\n")
    assert (found.schemas, found.views) == (tmp_path / "schemas", config.packaged("views"))
    found = loaded(tmp_path, MINIMAL + "schemas: mine\nviews: ''\n")
    assert (found.schemas, found.views) == (tmp_path / "mine", config.packaged("views"))


def test_the_packaged_files_of_a_checkout_are_those_of_configs() -> None:
    assert config.packaged() == CONFIGS
    assert len(list(config.packaged("schemas").glob("*.yaml"))) == 4


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/some/prefix", "file:///data/in"])
def test_a_source_url_with_a_scheme_is_kept_as_it_is(tmp_path: Path, url: str) -> None:
    assert loaded(tmp_path, f"source: {{url: '{url}'}}\nwarehouse: lake\n").source.url == url


@pytest.mark.parametrize("url", ["gs://bucket", "s3:///prefix", "file://data", "https://host/x"])
def test_a_source_url_of_another_kind_is_refused(tmp_path: Path, url: str) -> None:
    assert problems(tmp_path, f"warehouse: lake\nsource:\n  url: {url}\n") == [
        "3: 'source.url' should be a folder, file:///absolute/folder or s3://bucket/prefix"
    ]


def test_the_embedded_catalog_lies_in_the_warehouse_folder(tmp_path: Path) -> None:
    assert loaded(tmp_path, MINIMAL).catalog_properties() == {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path}/lake/catalog.db?timeout=60",
        "warehouse": f"file://{tmp_path}/lake",
    }
    assert not (tmp_path / "lake").exists()


def test_catalog_properties_go_to_the_catalog_as_they_were_written(tmp_path: Path) -> None:
    text = "source: {url: in}\ncatalog: {properties: {type: glue, a: 10, b: true, c: 1.10, glue.id: 012345670123}}\n"
    expected = {"type": "glue", "a": "10", "b": "true", "c": "1.10", "glue.id": "012345670123"}
    assert loaded(tmp_path, text).catalog_properties() == expected


def test_neither_warehouse_nor_catalog_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, "source: {url: in}\n") == [
        "1: 'warehouse' or 'catalog.properties' is needed: a folder for the embedded catalog, or a catalog"
    ]


def test_a_warehouse_that_is_no_plain_folder_is_refused(tmp_path: Path) -> None:
    assert "should be a folder; for another storage" in problems(tmp_path, MINIMAL.replace("lake", "s3://b"))[0]
    assert "without # ? in its path" in problems(tmp_path, MINIMAL.replace("lake", "what?#"))[0]


def test_sizes_are_numbers_or_texts_with_a_unit(tmp_path: Path) -> None:
    found = loaded(tmp_path, MINIMAL + "limits: {line_bytes: 1000, file_bytes: 4 GB}\nbatch: {bytes: 1.5MiB}\n")
    assert (found.limits.line_bytes, found.limits.file_bytes) == (1000, 4_000_000_000)
    assert found.batch.bytes == 3 * 1024**2 // 2


def test_environment_references_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "exports")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)
    found = loaded(
        tmp_path,
        """
source: {url: "s3://${BUCKET}/${UNSET:-p}/${EMPTY:-q}", region: "${UNSET:-}", readers: "${UNSET:-3}"}
resources: {memory: "${UNSET:-2GiB}", threads: "${EMPTY}", temp_dir: "${EMPTY}"}
warehouse: lake
""",
    )
    assert found.source.url == "s3://exports/p/q"
    assert (found.source.region, found.source.readers) == (None, 3)
    assert (found.resources.memory, found.resources.threads, found.resources.temp_dir) == (2 * 1024**3, None, None)


def test_an_unset_variable_and_a_broken_reference_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    text = """\
warehouse: lake
source:
  url: s3://${UNSET}/x
  region: ${a b}
  readers: ${UNSET}
schemas: ${UNSET
namespace: ${UNSET:-${OTHER}}
"""
    assert problems(tmp_path, text) == [
        "3: environment variable UNSET is not set; set it, or write ${UNSET:-default}",
        "4: a reference should be ${NAME} or ${NAME:-default}, none within another",
        "5: environment variable UNSET is not set; set it, or write ${UNSET:-default}",
        "6: a reference should be ${NAME} or ${NAME:-default}, none within another",
        "7: a reference should be ${NAME} or ${NAME:-default}, none within another",
    ]


def test_a_typo_in_a_key_is_refused_with_the_nearest_right_key(tmp_path: Path) -> None:
    assert problems(tmp_path, "source:\n  ulr: in\nwarehose: lake\n") == [
        "2: unknown key 'ulr'; did you mean 'url'?",
        "3: unknown key 'warehose'; did you mean 'warehouse'?",
    ]


def test_a_key_near_no_other_is_refused_with_all_right_keys(tmp_path: Path) -> None:
    assert problems(tmp_path, MINIMAL + "batch:\n  xyz: 1\n") == ["4: unknown key 'xyz'; known here: objects, bytes"]


def test_what_stands_below_a_mistyped_key_is_checked_too(tmp_path: Path) -> None:
    assert problems(tmp_path, MINIMAL + "limts:\n  line_byte: 0\n") == [
        "3: unknown key 'limts'; did you mean 'limits'?",
        "4: unknown key 'line_byte'; did you mean 'line_bytes'?",
        "4: 'limits.line_bytes' should be from 1B to 256MiB",
    ]


def test_all_mistakes_of_a_config_are_reported_at_once(tmp_path: Path) -> None:
    text = """
source:
  readers: 8.5
  readers: 9
  max_attempts: -1
catalog:
  properties: {a: [1], b: ~}
limits:
  line_bytes: 4 parsecs
resources:
log: {format: jsn}
batch: 3
"""
    assert problems(tmp_path, text) == [
        "2: missing key 'source.url'",
        "3: 'source.readers' should be a valid integer",
        "4: key 'readers' is already set on line 3; keep one of the two",
        "5: 'source.max_attempts' should be from 1 to 1,000",
        "7: 'catalog.properties.a' should be a text",
        "7: 'catalog.properties.b' is empty; give it a value or remove the key",
        "9: 'limits.line_bytes' should be a size, such as 512MiB",
        "10: 'resources' is empty; give it a value or remove the key",
        "11: 'log.format' should be 'text' or 'json'; did you mean 'json'?",
        "12: 'batch' should be a mapping of keys to values",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1: should be a mapping of keys to values, at least one"),
        ("- a\n", "1: should be a mapping of keys to values, at least one"),
        (
            "a: 1\nb: [1\n",
            "3: not valid YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
        ),
        ("a: 1\n\tb: 2\n", "2: not valid YAML: while scanning for the next token, found character '\\t' that cannot"),
        (
            "a: 1\n---\nb: 1\n",
            "2: not valid YAML: expected a single document in the stream, but found another document",
        ),
        ("a: \x01\n", "1: not valid YAML: unacceptable character #x0001"),
        ('a: 1\nb: "\\U00110000"\n', "2: not valid YAML: an escape that is no character"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', "2: not valid YAML: an escape that is no character"),
        (f"a: {'[' * 5_000}", "1: nested too deeply; check its brackets and dashes"),
        (f"a:\n {'- ' * 5_000}", "1: nested too deeply; check its brackets and dashes"),
    ],
)
def test_what_is_no_yaml_mapping_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_a_file_that_cannot_be_read_as_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        config.load(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config.load(tmp_path)


def test_yaml_that_one_line_cannot_explain_is_refused(tmp_path: Path) -> None:
    text = MINIMAL + "namespace: &n rover\nschemas: *n\nlog: &l {format: !x json}\n? [a]\n: 1\nbatch: &b {c: *b}\n"
    assert problems(tmp_path, text) == [
        "3: anchors and aliases (&, *) are not supported; write the value out",
        "5: tags (!x) are not supported; write the plain value",
        "6: a key should be a plain word",
        "8: anchors and aliases (&, *) are not supported; write the value out",
        "8: unknown key 'c'; known here: objects, bytes",
    ]


def test_a_missing_config_file_names_itself_and_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no config file .*/none\.yaml; .* `compactor init`") as caught:
        config.load(tmp_path / "none.yaml")
    assert caught.value.exit_code == 2


def test_a_message_never_carries_a_value(tmp_path: Path) -> None:
    text = "source: {url: in, readers: s3cret}\ncatalog: {properties: {password: [s3cret]}}\nlog: {format: s3cret}\n"
    assert "s3cret" not in "".join(problems(tmp_path, text))


def test_a_config_cannot_be_changed_after_it_was_loaded(tmp_path: Path) -> None:
    found = loaded(tmp_path, MINIMAL)
    with pytest.raises(ValidationError):
        setattr(found.source, "readers", 3)  # noqa: B010  by name, as a checker of types would not let it


def test_every_key_is_described() -> None:
    def check(nested: dict[str, Any]) -> None:
        for name, value in nested.items():
            assert value, name
            if isinstance(value, dict):
                check(value)

    check(keys_of(config.Config))


def test_the_reference_names_every_key_with_its_default() -> None:
    path = CONFIGS / "reference.yaml"
    declared = keys_of(config.Config)
    assert outline(yaml_file.load(path).data, declared) == outline(declared, declared)
    found = config.load(path).model_dump()
    defaults = config.Config.model_validate(
        {"source": {"url": "../data/source"}, "warehouse": "../data/warehouse"}, context={"path": path}
    ).model_dump()
    assert found == defaults


def test_the_shipped_default_is_short_and_loads() -> None:
    path = CONFIGS / "local.yaml"
    assert len(path.read_text().splitlines()) < 16
    assert config.load(path).catalog_properties()["type"] == "sql"


def test_the_shipped_aws_config_takes_its_buckets_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROVER_EXPORT_PREFIX", "ROVER_EXPORT_ROLE_ARN", "ROVER_EXPORT_EXTERNAL_ID", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("ROVER_EXPORT_BUCKET", "ROVER_LAKE_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError) as caught:
        config.load(CONFIGS / "aws.yaml")
    assert [problem.split()[3] for problem in caught.value.problems] == ["ROVER_EXPORT_BUCKET", "ROVER_LAKE_BUCKET"]
    monkeypatch.setenv("ROVER_EXPORT_BUCKET", "exports")
    monkeypatch.setenv("ROVER_LAKE_BUCKET", "lake")
    found = config.load(CONFIGS / "aws.yaml")
    assert (found.source.url, found.source.role_arn) == ("s3://exports/", None)
    assert found.catalog_properties()["type"] == "glue"
    assert found.catalog_properties()["warehouse"] == "s3://lake/warehouse"
