"""The config. These types are its only declaration; `configs/reference.yaml` shows every key with its default.

Sizes are bytes and may be written as `512MiB` or `4 GB`. Times are seconds unless the key says otherwise. A relative
folder (`source.url`, `warehouse`, `schemas`, `views`, `resources.temp_dir`, and no other value) is relative to the
config file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
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
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from compactor import yaml_file
from compactor.errors import ConfigError, UsageError

_MIB = 1024**2
_GIB = 1024**3
_TIB = 1024**4


def packaged(name: str = "") -> Path:
    """A file or folder of `configs/`: inside the package where a wheel was installed, else in the checkout."""
    installed = Path(__file__).with_name("configs")
    return (installed if installed.is_dir() else Path(__file__).parents[1] / "configs") / name


def _or_none(value: Any) -> Any:
    """Reads an optional value that is empty as not set, so that `${NAME:-}` means "only if NAME is set"."""
    return None if value == "" else value


def _beside_config(value: Path, info: ValidationInfo) -> Path:
    """An absolute folder. `info.context` holds the config file's path; without it, the working directory counts."""
    file: Path = (info.context or {}).get("path", Path("config"))
    return (file.absolute().parent / value).resolve()


def _no_file(folder: Path) -> Path:
    """A folder that need not be there yet."""
    try:
        is_file = folder.exists() and not folder.is_dir()
    except OSError:  # what uses it says why
        is_file = False
    if is_file:
        raise ValueError("should be a folder, and is a file; name another one")
    return folder


def _or_packaged(value: Any, info: ValidationInfo) -> Any:
    """A folder that is not set: the folder of that name beside the config file if there is one, else the packaged."""
    if value not in (None, ""):
        return value
    name = str(info.field_name)
    own = _beside_config(Path(name), info)
    return own if own.is_dir() else packaged(name)


def _between(low: float, high: float, form: Callable[[Any], str] = "{:,}".format) -> WrapValidator:
    """A number within limits. A setting outside of them is a mistake of typing, or asks for what no machine has."""

    def check(value: Any, number: ValidatorFunctionWrapHandler) -> Any:
        try:
            found = number(value)
        except OverflowError:
            found = None
        if found is None or not low <= found <= high:
            raise ValueError(f"should be from {form(low)} to {form(high)}")
        return found

    return WrapValidator(check)


def _bytes_between(low: int, high: int) -> WrapValidator:
    return _between(low, high, lambda size: ByteSize(size).human_readable(separator="").replace(".0", ""))


def _like(pattern: str, words: str) -> AfterValidator:
    """A text that a service takes."""

    def check(text: str | None) -> str | None:
        if text is not None and not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(f"should be {words}")
        return text

    return AfterValidator(check)


Attempts = Annotated[int, _between(1, 1000)]
Objects = Annotated[int, _between(1, 10_000_000)]
CommitBytes = Annotated[ByteSize, _bytes_between(1, 1 * _TIB)]
Seconds = Annotated[float, _between(0.001, 3600)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Folder = Annotated[Path, AfterValidator(_beside_config)]
OptionalName = Annotated[str | None, BeforeValidator(_or_none)]
OptionalThreads = Annotated[Annotated[int, _between(1, 1024)] | None, BeforeValidator(_or_none)]
OptionalReaders = Annotated[Annotated[int, _between(1, 256)] | None, BeforeValidator(_or_none)]
IfRunning = Literal["wait", "leave", "ignore"]
EngineName = Literal["local", "spark"]
OptionalFolder = Annotated[Annotated[Folder, AfterValidator(_no_file)] | None, BeforeValidator(_or_none)]
PackagedFolder = Annotated[Folder, BeforeValidator(_or_packaged)]


class _Section(BaseModel):
    # validate_default: a default folder is relative to the config file, too.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Source(_Section):
    """Where the exports are read from, and how."""

    url: str = Field(
        description="The parent of `exports/`: a folder, file:///absolute/folder, or s3://bucket/optional-prefix"
    )
    endpoint: Annotated[OptionalName, _like(r"https?://[^?#@\s]+", "http://host:port or https://host:port")] = Field(
        default=None, description="URL of an S3-compatible store; not set: AWS"
    )
    region: Annotated[OptionalName, _like("[a-z0-9-]{1,64}", "a region, such as us-east-1")] = Field(
        default=None, description="AWS region of the bucket; not set: the region of the environment"
    )
    role_arn: Annotated[
        OptionalName, _like(r"arn:[\w-]+:iam::\d{12}:role/\S{1,512}", "arn:aws:iam::ACCOUNT:role/NAME")
    ] = Field(default=None, description="IAM role to assume for reading; not set: the own credentials")
    external_id: Annotated[
        OptionalName, _like(r"[\w+=,.@:/-]{2,1224}", "2 to 1,224 of letters, digits and +=,.@:/_-")
    ] = Field(default=None, description="External id that the trust policy of the role requires")
    role_session_name: Annotated[str, _like(r"[\w+=,.@-]{2,64}", "2 to 64 of letters, digits and +=,.@_-")] = Field(
        default="compactor", description="Session name of the assumed role; CloudTrail shows it"
    )
    max_attempts: Attempts = Field(default=8, description="Attempts of one S3 request, including the first")
    connect_timeout: Seconds = Field(default=10.0, description="Seconds to wait for a connection")
    read_timeout: Seconds = Field(default=60.0, description="Seconds to wait for the next bytes of a response")
    readers: OptionalReaders = Field(
        default=None,
        description="Objects read at the same time; not set: 8, and up to 32 small ones from a distant bucket",
    )
    window_hours: Annotated[int, _between(1, 876_000)] = Field(
        default=48, description="Hours before the newest loaded hour that a run lists again, to find late objects"
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

    name: Name = Field(default="rover", description="Name of the catalog in PyIceberg")
    properties: dict[str, str] = Field(
        default={},
        description="Properties for PyIceberg's load_catalog; empty: the embedded catalog in `warehouse`",
    )


class Limits(_Section):
    """Sizes above which a line or an object counts as damaged."""

    line_bytes: Annotated[ByteSize, _bytes_between(1, 256 * _MIB)] = Field(
        default=ByteSize(16 * _MIB), description="Bytes of one line; a longer line is quarantined"
    )
    file_bytes: Annotated[ByteSize, _bytes_between(1, 16 * _TIB)] = Field(
        default=ByteSize(4 * _GIB), description="Uncompressed bytes at which an object counts as a gzip bomb"
    )
    lines: Annotated[int, _between(1, 1_000_000_000)] = Field(
        default=10_000_000, description="Lines of an object, blank ones too; an object with more stays pending"
    )


class Resources(_Section):
    """What one run may use of the machine."""

    memory: Annotated[ByteSize, _bytes_between(_MIB, 16 * _TIB)] = Field(
        default=ByteSize(_GIB),
        description="Bytes for the in-process engine; the peak of the process is about 500 MB higher",
    )
    threads: OptionalThreads = Field(default=None, description="Threads of the engine; not set: one per core")
    temp_dir: OptionalFolder = Field(
        default=None, description="Folder for spilled data; not set: the temporary folder of the system"
    )


class Batch(_Section):
    """How much of the source goes into one commit. The limit that is reached first ends the batch."""

    objects: Objects = Field(default=20_000, description="Maximum number of objects in one commit")
    bytes: CommitBytes = Field(
        default=ByteSize(32 * _MIB), description="Maximum number of compressed bytes in one commit"
    )


class Spark(_Section):
    """The engine for data that one machine cannot handle. Read only if the engine is `spark`."""

    settings: dict[str, str] = Field(
        default={}, description="Settings of Spark, such as spark.master; the options of spark-submit go before them"
    )
    batch: Batch = Field(
        default=Batch(objects=200_000, bytes=ByteSize(16 * _GIB)),
        description="As `batch`, for Spark: a cluster works best with a far larger part of the source in one commit",
    )


class Tables(_Section):
    """How the tables are written."""

    target_file_bytes: Annotated[ByteSize, _bytes_between(4 * 1024, 16 * _GIB)] = Field(
        default=ByteSize(128 * _MIB), description="Target size of a data file in bytes"
    )
    fsync: bool = Field(
        default=True,
        description="Wait until files on a local disk are really on it before a commit names them; S3 needs no waiting",
    )
    properties: dict[str, str] = Field(
        default={}, description="More Iceberg table properties, set when a table is created"
    )


class Commit(_Section):
    """What happens when another writer commits first."""

    attempts: Attempts = Field(
        default=20, description="Attempts to commit a batch, each planned again after a conflict, before the run fails"
    )


class Log(_Section):
    """The log, on stderr."""

    format: Literal["text", "json"] = Field(
        default="text", description="`text` for people, `json` for one JSON object per line"
    )


class Config(_Section):
    """One config file that was checked. `load` makes it."""

    source: Source = Field(description="Where the exports are read from, and how")
    catalog: Catalog = Field(default=Catalog(), description="The Iceberg catalog")
    warehouse: str | None = Field(
        default=None,
        description="Folder of the embedded catalog (catalog.db) and its tables; used if catalog.properties is empty",
    )
    namespace: Annotated[str, _like("[a-z0-9_]{1,255}", "1 to 255 of a-z, 0-9 and _, which all engines take")] = Field(
        default="rover", description="Namespace (database) of all tables"
    )
    schemas: PackagedFolder = Field(
        default=None,
        validate_default=True,
        description="Folder of the registry, one YAML file per dataset; not set: `schemas` beside this file, else the"
        " packaged registry",
    )
    views: PackagedFolder = Field(
        default=None,
        validate_default=True,
        description="Folder of the views, one SQL file per view; not set: `views` beside this file, else the packaged"
        " views",
    )
    limits: Limits = Field(default=Limits(), description="Sizes above which a line or an object counts as damaged")
    resources: Resources = Field(default=Resources(), description="What one run may use of the machine")
    batch: Batch = Field(default=Batch(), description="How much of the source goes into one commit")
    engine: EngineName = Field(
        default="local", description="What reads and merges: `local`, in this process, or `spark`"
    )
    spark: Spark = Field(default=Spark(), description="The engine for data that one machine cannot handle")
    tables: Tables = Field(default=Tables(), description="How the tables are written")
    commit: Commit = Field(default=Commit(), description="What happens when another writer commits first")
    if_running: IfRunning = Field(
        default="wait", description="What a run does if another run is in progress: `wait`, `leave`, or `ignore` it"
    )
    log: Log = Field(default=Log(), description="The log, on stderr")

    _path: Path = PrivateAttr(default=Path("(no config file)"))

    @field_validator("warehouse")
    @classmethod
    def _check_warehouse(cls, warehouse: str | None, info: ValidationInfo) -> str | None:
        # `catalog` is declared and thus validated before this field. It is missing here if it has mistakes itself.
        if not warehouse:
            if "catalog" in info.data and not info.data["catalog"].properties:
                raise ValueError("or 'catalog.properties' is needed: a folder for the embedded catalog, or a catalog")
            return None
        if "://" in warehouse:
            raise ValueError("should be a folder; for another storage set a catalog in 'catalog.properties'")
        folder = str(_beside_config(Path(warehouse), info))
        # The two URLs of `catalog_properties` cannot contain these: PyIceberg does not unquote them.
        if found := set(folder) & set("?#%"):
            raise ValueError(f"should be a folder without {' '.join(sorted(found))} in its path")
        return str(_no_file(Path(folder)))

    def model_post_init(self, context: Any) -> None:
        self._path = (context or {}).get("path", self._path)

    @property
    def path(self) -> Path:
        """The file that this config was read from, by the name that the caller gave. For messages."""
        return self._path

    def catalog_properties(self) -> dict[str, str]:
        """The properties for PyIceberg's load_catalog. This does not create the folder of the embedded catalog."""
        if self.catalog.properties:
            return dict(self.catalog.properties)
        # SQLite waits this many seconds for the lock of another writer. Its default of 5 is too short.
        uri = f"sqlite:///{self.warehouse}/catalog.db?timeout=60"
        return {"type": "sql", "uri": uri, "warehouse": f"file://{self.warehouse}"}


def load(path: Path) -> Config:
    """Reads and checks a YAML file.

    Raises:
        UsageError: there is no such file.
        ConfigError: the file has mistakes, all of which are listed, or it is no regular file.
    """
    try:
        is_there = path.exists()
    except OSError:  # the reader says why
        is_there = True
    if not is_there:
        raise UsageError(f"no config file {path}; name one with -c, or let `compactor init` write one")
    file = yaml_file.load(path)
    config, problems = yaml_file.validate(file, Config, context={"path": path})
    if config is None or problems:
        raise ConfigError(file.report(problems))
    return config
