"""The settings that belong to no protocol: one row each, with name, default and reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lyredb.delivery.peers import DEFAULT_LIMITS, PeerLimits
from lyredb.plugins.scope import Settings
from lyredb.plugins.settings import AUTO, Setting
from lyredb.security.attempts import FIRST_WAIT_S, MAX_ATTEMPTS, MAX_WAIT_S, Attempts
from lyredb.storage.settings import StorageSettings
from lyredb.tables.query.costs import DEFAULT_LIMITS as DEFAULT_QUERY_LIMITS
from lyredb.tables.query.costs import QueryLimits
from lyredb.tables.schema import Schema

MAX_WORKERS: Final = 64
_MB: Final = 1_000_000
_STORAGE: Final = StorageSettings()


CORE_SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "network.host",
        "127.0.0.1",
        "text",
        "The address that every listener binds. The default is loopback: a new server is "
        "open to nobody else until told so (`0.0.0.0` or `::` for every interface).",
        option="--host",
    ),
    Setting(
        "operationsApi.network.port",
        9925,
        "port",
        "The operations port. It answers `/health` and `/metrics`, and nothing else.",
        option="--operations-port",
    ),
    Setting(
        "threads.count",
        AUTO,
        "count",
        "How many workers `lyredb run` starts: processes that serve the same ports. `auto`: as "
        "many as there are processors that this process may use (its affinity, the CPU quota of "
        "its cgroups), at least one. One more process writes. `lyredb dev` is one process.",
        minimum=1,
        maximum=MAX_WORKERS,
        option="--workers",
    ),
    Setting(
        "threads.maxSilence",
        5.0,
        "duration",
        "A worker or writer that gives no sign of life for so long is killed and started anew. "
        "Not 1s: on a machine that is short of processors or memory a healthy process waits "
        "that long for its turn, and a restart would cost it all its connections.",
        minimum=1.0,
        maximum=600.0,
        live=True,
    ),
    Setting(
        "threads.peerBuffer",
        DEFAULT_LIMITS.buffer_bytes,
        "size",
        "Bytes of messages that may wait in a worker for each other one that does not keep up; "
        "beyond it those of QoS 0 are dropped and counted, beyond twice as much all. About half "
        "a second of what a processor can forward: more would only arrive late.",
        minimum=65_536,
    ),
    Setting(
        "threads.tell",
        False,
        "flag",
        "Tell clients which worker serves them: HTTP header `x-lyredb-worker`, MQTT 5 user "
        "property `lyredb-worker` of CONNACK. For tests and for finding faults.",
    ),
    Setting(
        "admin.username",
        "",
        "text",
        "The super user to make on start unless it exists; `admin` when empty.",
    ),
    Setting(
        "admin.password",
        "",
        "text",
        "Its password. When empty, and there is no user at all, one is generated and written "
        "to `admin-password` in the data directory, which only its owner can read. The "
        "password of a user that exists stays as it is; a warning says so when this is another.",
    ),
    Setting(
        "authentication.cacheTTL",
        30.0,
        "duration",
        "How long a successful login is remembered, so that a client that sends its password "
        "with each request does not pay 100 ms each time. A changed user is forgotten at once.",
        maximum=86_400.0,
    ),
    Setting(
        "authentication.maxAttempts",
        MAX_ATTEMPTS,
        "integer",
        "Failed logins of one address, or for one user name, before the next has to wait; 0 "
        "for no limit. People mistype, guessing needs far more. Each worker counts its own.",
        maximum=1_000_000,
    ),
    Setting(
        "authentication.attemptWait",
        FIRST_WAIT_S,
        "duration",
        "The first wait after `authentication.maxAttempts` failures; each further one doubles it.",
        minimum=0.001,
        maximum=86_400.0,
    ),
    Setting(
        "authentication.maxAttemptWait",
        MAX_WAIT_S,
        "duration",
        "The longest wait. Addresses are shared and user names are known, so a longer one "
        "would keep the wrong ones out.",
        minimum=0.001,
        maximum=86_400.0,
    ),
    Setting(
        "mqtt.openTopics",
        "auto",
        "choice",
        "Whether topics outside of every table are kept as records of `data.Topic`. "
        "`auto`: when the application declares no table.",
        choices=("auto", "true", "false"),
    ),
    Setting(
        "mqtt.willGrace",
        30.0,
        "duration",
        "Time after a start that clients of the last run have to come back, if the server was "
        "killed; the wills of those that do not are published then. Clients try again at "
        "intervals of some 10 s, and have not gone as their wills say. 0 publishes at once.",
        maximum=86_400,
    ),
    Setting(
        "queries.maxLookedAt",
        DEFAULT_QUERY_LIMITS.looked_at,
        "integer",
        "Records that one query may read without finding them: a scan looks at about a million "
        "a second, beside the other work of its worker.",
        minimum=1,
    ),
    Setting(
        "queries.maxSorted",
        DEFAULT_QUERY_LIMITS.sorted,
        "integer",
        "Records that one query may put in order in memory, about 150 bytes each. An order by an "
        "indexed attribute, or with a small limit, needs none or few.",
        minimum=1,
    ),
    Setting(
        "queries.maxKeys",
        DEFAULT_QUERY_LIMITS.keys,
        "integer",
        "Keys that one query may keep in memory, about 100 bytes each: so that none comes twice, "
        "and what was changed while a long answer is read.",
        minimum=1,
    ),
    Setting(
        "queries.maxConditions",
        DEFAULT_QUERY_LIMITS.conditions,
        "integer",
        "Conditions in one query; each costs time for each record. Many values of one attribute "
        "are one condition, with `in`.",
        minimum=1,
        maximum=1000,
    ),
    Setting(
        "queries.maxJoins",
        DEFAULT_QUERY_LIMITS.joins,
        "integer",
        "Related tables in a row, in a condition, an order or a select. Each may multiply what "
        "is read.",
        minimum=0,
        maximum=20,
    ),
    Setting(
        "queries.maxRelated",
        DEFAULT_QUERY_LIMITS.related,
        "integer",
        "Related records of one record that a query follows. They are in memory together; more "
        "are better found by a query of their own table.",
        minimum=1,
    ),
    Setting(
        "queries.maxTime",
        DEFAULT_QUERY_LIMITS.seconds,
        "duration",
        "How long one query may read, without the time in which its receiver takes the answer. "
        "A table of ten million records is scanned in less.",
        minimum=0.01,
    ),
    Setting(
        "storage.path",
        "",
        "text",
        "The data directory. When empty: `data` below the application folder for "
        "`lyredb run`, `.lyredb` for `lyredb dev`.",
        option="--data",
    ),
    Setting(
        "storage.minFree",
        _STORAGE.min_free_bytes,
        "size",
        "Writes are refused while the disk has less free space than this, so that there is "
        "room left to tidy up.",
    ),
    Setting(
        "storage.mapSize",
        _STORAGE.map_size,
        "size",
        "Largest size of the data file. It is sparse: space is taken when used.",
        minimum=16 * _MB,
    ),
    Setting(
        "storage.maxRecordSize",
        _STORAGE.max_record_bytes,
        "size",
        "Largest stored record.",
        minimum=1000,
        maximum=16 * 1024**2,
    ),
    Setting(
        "storage.blobInline",
        _STORAGE.blob_inline_bytes,
        "size",
        "Values of type `Blob` with more bytes than this stand in files of their own, smaller "
        "ones in their records. A file costs two fsyncs and a look-up more; a record that is "
        "much larger than a page of the store makes each change of it dear.",
        maximum=1024**2,
    ),
    Setting(
        "storage.maxBlobSize",
        _STORAGE.max_blob_bytes,
        "size",
        "Largest value of type `Blob`; a larger upload is answered with 413, however large "
        "`http.maxBodySize` is. A bound on what one request can take of the disk.",
        minimum=1000,
        maximum=1024**5,
    ),
    Setting(
        "storage.maxTransactionSize",
        _STORAGE.max_transaction_bytes,
        "size",
        "Largest transaction.",
        minimum=1000,
    ),
    Setting(
        "storage.maxWaitingSize",
        _STORAGE.max_outstanding_bytes,
        "size",
        "Bytes of writes that may wait for the disk, in the writer and in each worker; further "
        "ones are refused (503, Retry-After) until there is room. Two of the largest "
        "transactions. One that waits takes twice its size, so a small machine needs less.",
        minimum=1000,
    ),
    Setting(
        "storage.segmentSize",
        _STORAGE.segment_bytes,
        "size",
        "A segment of the log ends at this size; the log is dropped by whole segments.",
        minimum=_MB,
    ),
    Setting(
        "storage.segmentAge",
        _STORAGE.segment_s,
        "duration",
        "A segment of the log ends at this age.",
        minimum=1.0,
    ),
    Setting(
        "storage.logRetention",
        _STORAGE.retention_age_s,
        "duration",
        "How long the log is kept: subscribers resume without a gap after an absence of "
        "this length, later ones get the current state.",
        minimum=1.0,
    ),
    Setting(
        "storage.logSize",
        _STORAGE.retention_bytes,
        "size",
        "The oldest segments are dropped while the log takes more than this. It is in the "
        "data file, so more than `storage.mapSize` is refused.",
        minimum=2 * _MB,
    ),
)
"""See also the rows of each protocol, which come with its plugin."""


def storage_settings(settings: Settings) -> StorageSettings:
    """Return the engine's limits, from the rows ``storage.*``."""
    return replace(
        _STORAGE,
        map_size=settings.integer("storage.mapSize"),
        min_free_bytes=settings.integer("storage.minFree"),
        max_record_bytes=settings.integer("storage.maxRecordSize"),
        blob_inline_bytes=settings.integer("storage.blobInline"),
        max_blob_bytes=settings.integer("storage.maxBlobSize"),
        max_transaction_bytes=settings.integer("storage.maxTransactionSize"),
        max_outstanding_bytes=settings.integer("storage.maxWaitingSize"),
        segment_bytes=settings.integer("storage.segmentSize"),
        segment_s=settings.seconds("storage.segmentAge"),
        retention_age_s=settings.seconds("storage.logRetention"),
        retention_bytes=settings.integer("storage.logSize"),
    )


def query_limits(settings: Settings) -> QueryLimits:
    """Return what one query may cost, from the rows ``queries.*``."""
    return QueryLimits(
        looked_at=settings.integer("queries.maxLookedAt"),
        sorted=settings.integer("queries.maxSorted"),
        keys=settings.integer("queries.maxKeys"),
        conditions=settings.integer("queries.maxConditions"),
        joins=settings.integer("queries.maxJoins"),
        related=settings.integer("queries.maxRelated"),
        seconds=settings.seconds("queries.maxTime"),
    )


def peer_limits(settings: Settings) -> PeerLimits:
    """Return what is bounded between workers, from the row ``threads.peerBuffer``."""
    return replace(DEFAULT_LIMITS, buffer_bytes=settings.integer("threads.peerBuffer"))


def attempts_of(settings: Settings) -> Attempts:
    """Return the limits on failed logins, from the rows ``authentication.*``."""
    return Attempts(
        max_attempts=settings.integer("authentication.maxAttempts"),
        first_wait_s=settings.seconds("authentication.attemptWait"),
        max_wait_s=settings.seconds("authentication.maxAttemptWait"),
    )


def open_topics(settings: Settings) -> bool | None:
    """Return whether unknown topics are records; ``None`` when the schema decides."""
    return {"auto": None, "true": True, "false": False}[settings.text("mqtt.openTopics")]


def has_open_topics(settings: Settings, schema: Schema) -> bool:
    """Return whether topics outside of every table are records of ``data.Topic``."""
    wanted = open_topics(settings)
    return not schema.tables if wanted is None else wanted
