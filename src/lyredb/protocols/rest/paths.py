"""What a request's path means: a target, and perhaps the format of the answer."""

from __future__ import annotations

from lyredb.errors import InvalidKey, RecordNotFound
from lyredb.protocols.http.extension import split_extension
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.methods import READS
from lyredb.protocols.rest.service import PROTOCOL, Service
from lyredb.resources.target import Target


def resolve(service: Service, request: Request) -> Target:
    """Return what a path means.

    A path that can be no key (``/Counter/7.json`` where keys are integers) is read without
    the name of a format at its end. With a query a table is its collection.

    Raises:
        UnknownTopic, InvalidKey, RecordNotFound: As `Registry.resolve`.
    """
    registry = service.database.registry
    try:
        target = registry.resolve(request.path, PROTOCOL)
    except (InvalidKey, RecordNotFound):
        if request.method not in READS or not without_ending(request):
            raise
        target = registry.resolve(request.path, PROTOCOL)
    if target.kind == "property":
        return service.database.meant(target)
    if target.kind == "table" and request.query:
        return registry.collection(target.table)
    return target


def has_ending(request: Request) -> bool:
    """Tell whether the path ends in the name of a format."""
    return split_extension(request.path) is not None


def without_ending(request: Request) -> bool:
    """Take the name of a format off the path, and have it decide as ``Accept`` would.

    Returns:
        False when there is none; then nothing has changed.
    """
    split = split_extension(request.path)
    if split is None:
        return False
    request.path, chosen = split
    request.headers[b"accept"] = chosen.media_type.encode()
    return True
