"""The Python API: what the verbs of the command line do, as functions that return the same reports.

The command line calls this package, so there is one way into each verb. Public names are those of `compactor.__all__`.
The methods of `Lake` are in the modules of this package, by subject.

Nothing here is imported before it is needed: `import compactor` loads neither Arrow, DuckDB, PyIceberg nor an SDK.
All methods run in this process and block until they are done. Log records go to the logger `compactor`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compactor.api.changing import Changing
from compactor.api.describing import Describing
from compactor.api.loading import Loading
from compactor.api.reading import Reading
from compactor.api.setting_aside import SettingAside

if TYPE_CHECKING:
    from compactor.commands.init import InitReport


def open(config: str | Path) -> Lake:
    """Opens the lake of a config file. Only the config is read now; a method opens the tables when it needs them.

    Raises:
        UsageError: there is no such file.
        ConfigError: the file has mistakes; `problems` lists all of them.
    """
    from compactor.config import load

    return Lake(load(Path(config)))


def init(folder: str | Path = ".", *, aws: bool = False, registry: bool = False) -> InitReport:
    """Writes a config for a new lake into `folder`, and a reference of all its keys beside it.

    Args:
        folder: made if it does not exist.
        aws: a config for S3 and Glue instead of one for this machine.
        registry: also copies the registry and the views, for editing; the config then refers to the copies.

    Raises:
        UsageError: a file is already there (nothing is written then), or the folder cannot be written.
    """
    from compactor.commands.init import init

    return init(Path(folder), aws=aws, registry=registry)


class Lake(Loading, Reading, Changing, SettingAside, Describing):
    """A lake: its source, its registry and its tables, as one config describes them.

    An instance holds no connection. Each call opens the catalog again, so that it sees what other runs have committed.
    It can be used from several threads, except for methods that share one `progress`.

    Every method raises CompactorError, or one of its subclasses, for a failure with a known cause. The message names
    the next step and contains no content of records. UsageError means: correct the call or the config. Any other
    CompactorError means: nothing partial was published, and the same call can be made again.

    Attributes:
        config: the config, checked. It cannot be changed.
    """
