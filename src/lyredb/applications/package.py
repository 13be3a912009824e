"""An application's Python modules, loaded as a package of their own.

The folder becomes a package with a name that no other has, so that ``from .tables
import Sensor`` works and modules of two applications with the same file names are two
modules. The folder itself is not put on ``sys.path``.
"""

from __future__ import annotations

import importlib
import itertools
import re
import sys
import traceback
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

from lyredb.errors import LyreError, SchemaError

_numbers: Final = itertools.count(1)


class ApplicationPackage:
    """The package of one folder; imports modules on demand.

    Attributes:
        name: As in ``sys.modules``, unique in the process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        readable = re.sub(r"\W", "_", folder.name)
        self.name = f"lyredb_application_{next(_numbers)}_{readable}"

    def load(self, module: str) -> ModuleType:
        """Import one module of the folder, and the folder's ``__init__.py`` before it.

        Args:
            module: Its name in the folder, such as ``tables``.

        Raises:
            SchemaError: The module does not run, or ends the program; says file and line.
        """
        try:
            if self.name not in sys.modules:
                self._load_package()
            return importlib.import_module(f"{self.name}.{module}")
        except LyreError:
            raise
        except SyntaxError as error:
            file = Path(error.filename or module).name
            raise SchemaError(
                f"{error.msg}", file=file, line=error.lineno or 0, column=error.offset or 0
            ) from error
        except SystemExit as error:
            # It would end the server without a word, with whatever code it carries.
            file, line = self._place_of(error)
            raise SchemaError("ended the program (sys.exit)", file=file, line=line) from error
        except Exception as error:
            file, line = self._place_of(error)
            raise SchemaError(f"{type(error).__name__}: {error}", file=file, line=line) from error

    def unload(self) -> None:
        """Take the package's modules out of ``sys.modules``."""
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{self.name}.")]:
            del sys.modules[name]

    def _load_package(self) -> None:
        package = module_from_spec(self._spec())
        sys.modules[self.name] = package
        loader = package.__spec__.loader if package.__spec__ else None
        if loader is None:
            return
        try:
            loader.exec_module(package)
        except BaseException:
            del sys.modules[self.name]
            raise

    def _spec(self) -> ModuleSpec:
        start = self.folder / "__init__.py"
        places = [str(self.folder)]
        if start.is_file():
            spec = spec_from_file_location(self.name, start, submodule_search_locations=places)
            assert spec is not None
            return spec
        spec = ModuleSpec(self.name, None, is_package=True)
        spec.submodule_search_locations = places
        return spec

    def _place_of(self, error: BaseException) -> tuple[str, int]:
        """Return file and line of the innermost frame that is the application's."""
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if Path(frame.filename).is_relative_to(self.folder):
                return Path(frame.filename).name, frame.lineno or 0
        return self.folder.name, 0
