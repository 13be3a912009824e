"""YAML as people write it in settings and roles: plain values, no name twice."""

from __future__ import annotations

from typing import Final

import yaml

from lyredb.errors import InvalidBody


class _Loader(yaml.SafeLoader):
    """YAML whose mappings may not name a key twice (the last would win silently)."""


def _mapping_without_doubles(loader: _Loader, node: yaml.MappingNode) -> dict[object, object]:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(
                None, None, "a name must be text, not a list or a mapping", key.start_mark
            )
        if key.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"{key.value} is set twice", key.start_mark
            )
        seen.add(key.value)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_doubles)

MAX_BYTES: Final = 1_000_000
"""Far more than anybody writes by hand."""


def load_yaml(text: str) -> object:
    """Return the value of a YAML text, ``None`` for an empty one.

    Raises:
        InvalidBody: It is none; says where.
    """
    if len(text) > MAX_BYTES:
        raise InvalidBody(f"has more than {MAX_BYTES} characters")
    try:
        return yaml.load(text, _Loader)  # it is a SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-13-45
        raise InvalidBody(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise InvalidBody("is nested too deeply") from error


def dump_yaml(value: object) -> str:
    """Return a value as YAML, in the order that it has."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
