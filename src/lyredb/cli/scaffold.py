"""The application that ``lyredb init`` makes, from the files in ``template/``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from lyredb.errors import InvalidInput

_FILES: Final = {
    "tables.py": "tables.py",
    "config.yaml": "config.yaml",
    "index.html": "web/index.html",
    "readme.md": "README.md",
}


def make_application(folder: Path) -> list[Path]:
    """Write the application into a folder that does not exist or is empty.

    Returns:
        The files that were made.

    Raises:
        InvalidInput: Something is there already, or cannot be written.
    """
    template = files("lyredb.cli") / "template"
    made = []
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidInput(f"{folder} exists and is no empty folder; choose another name")
        for name, place in _FILES.items():
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            text = (template / name).read_text(encoding="utf-8")
            target.write_text(text.replace("{{name}}", folder.name), encoding="utf-8")
            made.append(target)
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be made: {error.strerror}") from error
    return made
