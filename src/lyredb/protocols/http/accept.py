"""Which of the media types that are no record format a client accepts (RFC 9110 §12.5.1)."""

from __future__ import annotations


def quality_of(accept: str, media_type: str) -> float:
    """Return the weight that ``accept`` gives exactly this type, 0 when it does not name it.

    Wildcards do not count: what asks for a stream or for problem details says so.
    """
    for element in accept.split(","):
        name, *parameters = element.split(";")
        if name.strip().lower() == media_type:
            return _weight(parameters)
    return 0.0


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 1.0  # a malformed weight is no reason to refuse
    return 1.0
