"""Resources: path = topic, who may do what, and subscribe = current state + changes.

`Database` is what every protocol uses and what ``lyredb.open()`` gives; the
registry resolves one path for all protocols, and access is decided in one place.
"""

from lyredb.resources.database import Database
from lyredb.resources.requests import Reading, SubscribeOptions, Write, Written
from lyredb.resources.target import Target

__all__ = ["Database", "Reading", "SubscribeOptions", "Target", "Write", "Written"]
