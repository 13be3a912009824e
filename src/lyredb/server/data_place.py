"""Where the data of an application is, for commands beside ``run`` and ``dev``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lyredb.applications.application import CONFIG_FILE
from lyredb.errors import InvalidInput
from lyredb.server.composition import settings_table
from lyredb.server.core_settings import storage_settings
from lyredb.server.launch import DATA_FOLDERS
from lyredb.storage.format import has_database
from lyredb.storage.settings import StorageSettings


@dataclass(frozen=True, slots=True)
class DataPlace:
    """A data directory, which may not exist yet, and the limits that its server has."""

    path: Path
    storage: StorageSettings

    def require(self) -> Path:
        """Return the directory.

        Raises:
            InvalidInput: There is no database in it.
        """
        if not has_database(self.path):
            raise InvalidInput(
                f"there is no database in {self.path}; start a server first, "
                "or name its directory with --data"
            )
        return self.path


def find_data(
    folder: Path, *, data: str | None, config: Path | None, environment: Mapping[str, str]
) -> DataPlace:
    """Find the data as ``run`` and ``dev`` do, from the same settings.

    Without a name for it that is ``data`` below the folder or, when only ``lyredb dev``
    has run there, ``.lyredb``.

    Args:
        folder: Of the application; need not be one when the settings name the directory.
        data: The option ``--data``.
        config: The option ``--config``.
        environment: Of this process.

    Raises:
        SettingError: A setting is wrong.
        InvalidInput: Both directories exist: the command has to be told which.
    """
    own = folder / CONFIG_FILE
    files = [file for file in (own if own.is_file() else None, config) if file is not None]
    settings = settings_table().load(files=files, environment=environment, flags={"--data": data})
    written = settings.text("storage.path")
    path = Path(written) if written else _below(folder)
    return DataPlace(path.resolve(), storage_settings(settings))


def _below(folder: Path) -> Path:
    served, tried = folder / DATA_FOLDERS["run"], folder / DATA_FOLDERS["dev"]
    if has_database(served) and has_database(tried):
        raise InvalidInput(
            f"{folder.resolve()} has data of `lyredb run` ({served.name}) and of `lyredb dev` "
            f"({tried.name}); choose with --data"
        )
    return tried if has_database(tried) else served
