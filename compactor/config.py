"""The config: these types are its only declaration. `configs/reference.yaml` shows every key with its default.

Sizes are bytes and may be written as `512MiB` or `4 GB`; times are seconds unless the key says otherwise. A relative
folder (`source.url`, `warehouse`, `schemas`, `views`, `resources.temp_dir`, and no other value) is relative to the
config file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
)

from compactor import yaml_file
from compactor.errors import ConfigError, UsageError

_MIB = 1024**2
_GIB = 1024**3


def _or_none(value: Any) -> Any:
    """An optional value that is empty is left out, so that `${NAME:-}` serves as "only if set"."""
    return None if value == "" else value


def _beside_config(value: Path, info: ValidationInfo) -> Path:
    """A folder, made absolute: `info.context` holds the config file's path (without one: in the working directory)."""
    file: Path = (info.context or {}).get("path", Path("config"))
    return (file.absolute().parent / value).resolve()


Size = Annotated[ByteSize, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
Folder = Annotated[Path, AfterValidator(_beside_config)]
OptionalName = Annotated[str | None, BeforeValidator(_or_none)]
OptionalCount = Annotated[Count | None, BeforeValidator(_or_none)]
IfRunning = Literal["wait", "leave", "ignore"]
EngineName = Literal["local", "spark"]
OptionalFolder = Annotated[Folder | None, BeforeValidator(_or_none)]


class _Section(BaseModel):
    # validate_default: a default folder, too, is relative to the config file.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Source(_Section):
    """Where the exports are read from, and how."""

    url: str = Field(
        description="What holds `exports/`: a folder, file:///absolute/folder, or s3://bucket/prefix (prefix optional)"
    )
    endpoint: OptionalName = Field(default=None, description="URL of an S3-compatible store; none: AWS")
    region: OptionalName = Field(default=None, description="AWS region of the bucket; none: as the environment says")
    role_arn: OptionalName = Field(default=None, description="IAM role to assume for reading; none: own credentials")
    external_id: OptionalName = Field(default=None, description="External id that the role's trust policy asks for")
    role_session_name: Name = Field(default="compactor", description="Session name of the assumed role, for CloudTrail")
    max_attempts: Count = Field(default=8, description="Tries of one S3 request, the first included")
    connect_timeout: Seconds = Field(default=10.0, description="Seconds to wait for a connection")
    read_timeout: Seconds = Field(default=60.0, description="Seconds to wait for the next bytes of a response")
    readers: Count = Field(default=8, description="Objects read at the same time")
    window_hours: Count = Field(
        default=48, description="Hours that a run lists back from the newest loaded hour, for late objects"
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str, info: ValidationInfo) -> str:
        if "://" not in url:
            if not url:
                raise ValueError("is empty; name the folder or the bucket that holds exports/")
            return str(_beside_config(Path(url), info))
        if not re.match(r"file:///|s3://[^/]", url):
            raise ValueError("should be a folder, file:///absolute/folder or s3://bucket/prefix")
        return url


class Catalog(_Section):
    """The Iceberg catalog."""

    name: Name = Field(default="rover", description="The catalog's name, as PyIceberg is to know it")
    properties: dict[str, str] = Field(
        default={},
        description="Handed to PyIceberg's load_catalog, with times for S3; empty: the embedded catalog in `warehouse`",
    )


class Limits(_Section):
    """What counts as damage rather than as data."""

    line_bytes: Size = Field(default=ByteSize(16 * _MIB), description="Bytes of a line; a longer one is quarantined")
    file_bytes: Size = Field(
        default=ByteSize(4 * _GIB), description="Uncompressed bytes of an object at which it counts as a gzip bomb"
    )


class Resources(_Section):
    """What one run may use of the machine."""

    memory: Size = Field(
        default=ByteSize(_GIB),
        description="Bytes of the in-process engine; the process peaks at about this plus 500 MB",
    )
    threads: OptionalCount = Field(default=None, description="Threads of the engine; none: all cores")
    temp_dir: OptionalFolder = Field(default=None, description="Folder to spill into; none: the system's")


class Batch(_Section):
    """How much of the source goes into one commit. Whichever limit is reached first ends the batch."""

    objects: Count = Field(default=20_000, description="Objects of one commit, at most")
    bytes: Size = Field(default=ByteSize(32 * _MIB), description="Compressed bytes of one commit, at most")


class Spark(_Section):
    """The engine for what outgrows one machine. Read only where the engine is `spark`."""

    settings: dict[str, str] = Field(
        default={}, description="Spark's own settings, such as spark.master; under spark-submit, its options count"
    )
    batch: Batch = Field(
        default=Batch(objects=200_000, bytes=ByteSize(16 * _GIB)),
        description="As `batch`: a cluster wants far more of the source in one commit",
    )


class Tables(_Section):
    """How the tables are written."""

    target_file_bytes: Size = Field(default=ByteSize(128 * _MIB), description="Bytes of a data file to aim at")
    properties: dict[str, str] = Field(default={}, description="More Iceberg table properties, set at creation")


class Commit(_Section):
    """What happens when another writer commits first."""

    attempts: Count = Field(default=20, description="Plans made afresh after a conflict before the run gives up")


class Log(_Section):
    """The log, on stderr."""

    format: Literal["text", "json"] = Field(default="text", description="`text` for people, `json`: an object a line")


class Config(_Section):
    """One config file, checked. Made by `load`."""

    source: Source = Field(description="Where the exports are read from, and how")
    catalog: Catalog = Field(default=Catalog(), description="The Iceberg catalog")
    warehouse: str | None = Field(
        default=None,
        description="Folder of the embedded catalog (catalog.db) and its tables; used if catalog.properties is empty",
    )
    namespace: Name = Field(default="rover", description="Namespace (database) of all tables")
    schemas: Folder = Field(default=Path("schemas"), description="Folder of the registry: one YAML file a dataset")
    views: Folder = Field(default=Path("views"), description="Folder of the views: one SQL file a view")
    limits: Limits = Field(default=Limits(), description="What counts as damage rather than as data")
    resources: Resources = Field(default=Resources(), description="What one run may use of the machine")
    batch: Batch = Field(default=Batch(), description="How much of the source goes into one commit")
    engine: EngineName = Field(
        default="local", description="What reads and merges: `local`, in this process, or `spark`"
    )
    spark: Spark = Field(default=Spark(), description="The engine for what outgrows one machine")
    tables: Tables = Field(default=Tables(), description="How the tables are written")
    commit: Commit = Field(default=Commit(), description="What happens when another writer commits first")
    if_running: IfRunning = Field(
        default="wait", description="What a run does if another is under way: `wait`, `leave`, or `ignore` it"
    )
    log: Log = Field(default=Log(), description="The log, on stderr")

    _path: Path = PrivateAttr(default=Path("(no config file)"))

    @field_validator("warehouse")
    @classmethod
    def _check_warehouse(cls, warehouse: str | None, info: ValidationInfo) -> str | None:
        # `catalog` is declared, and so validated, before; it is missing here if it has mistakes of its own.
        if not warehouse:
            if "catalog" in info.data and not info.data["catalog"].properties:
                raise ValueError("or 'catalog.properties' is needed: a folder for the embedded catalog, or a catalog")
            return None
        if "://" in warehouse:
            raise ValueError("should be a folder; for another storage name a catalog in 'catalog.properties'")
        folder = str(_beside_config(Path(warehouse), info))
        # They cannot stand in the two URLs that catalog_properties makes: PyIceberg reads those without unquoting.
        if found := set(folder) & set("?#%"):
            raise ValueError(f"should be a folder without {' '.join(sorted(found))} in its path")
        return folder

    def model_post_init(self, context: Any) -> None:
        self._path = (context or {}).get("path", self._path)

    @property
    def path(self) -> Path:
        """The file that this config was read from, as it was named; for messages."""
        return self._path

    def catalog_properties(self) -> dict[str, str]:
        """What PyIceberg's load_catalog is to be given. The embedded catalog's folder is not created here."""
        if self.catalog.properties:
            return dict(self.catalog.properties)
        # SQLite waits this many seconds for another writer's lock; its own 5 are too few for runs side by side.
        uri = f"sqlite:///{self.warehouse}/catalog.db?timeout=60"
        return {"type": "sql", "uri": uri, "warehouse": f"file://{self.warehouse}"}


def load(path: Path) -> Config:
    """The config in a YAML file. Raises UsageError if there is no such file, ConfigError with all its mistakes."""
    if not path.exists():
        raise UsageError(f"no config file {path}; name one with -c, or start from configs/reference.yaml")
    file = yaml_file.load(path)
    config, problems = yaml_file.validate(file, Config, context={"path": path})
    if config is None or problems:
        raise ConfigError(file.report(problems))
    return config
