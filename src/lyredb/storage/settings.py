"""The limits and promises of one engine, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

_KB = 1024
_MB = 1024 * _KB
_GB = 1024 * _MB


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Limits of an engine and its writer. Sizes are bytes, times as named.

    Attributes:
        map_size: Largest size of the data file. It is sparse: space is taken when used.
        min_free_bytes: Below this much free space on the disk, commits are refused.
        segment_bytes: A log segment ends when its pages take this much; see
            `segment_limit_bytes`.
        segment_s: A log segment ends when its first entry is this old.
        retention_age_s: Sealed segments whose last entry is older are dropped.
        retention_bytes: Oldest sealed segments are dropped while the log takes more; see
            `log_limit_bytes`.
        max_record_bytes: Largest stored record, header included; at most 16 MB.
        max_transaction_bytes: Bodies, operations and metadata of one transaction.
        max_transaction_mutations: Mutations of one transaction.
        max_outstanding_mutations: Submitted and not answered; beyond it `Overloaded`.
        max_outstanding_bytes: The same in bytes.
        group_mutations: A group takes whole transactions until it has this many.
        group_ms: A group stops taking transactions after this time.
        blob_inline_bytes: Values of type Blob with more bytes are files.
        max_blob_bytes: Largest blob.
    """

    map_size: int = 1024 * _GB
    min_free_bytes: int = 64 * _MB
    segment_bytes: int = 256 * _MB
    segment_s: float = 2 * 3600.0
    retention_age_s: float = 3 * 86400.0
    retention_bytes: int = 8 * _GB
    max_record_bytes: int = 1 * _MB
    max_transaction_bytes: int = 64 * _MB
    max_transaction_mutations: int = 100_000
    max_outstanding_mutations: int = 200_000
    max_outstanding_bytes: int = 128 * _MB
    group_mutations: int = 2000
    group_ms: float = 8.0
    blob_inline_bytes: int = 8 * _KB
    max_blob_bytes: int = 1 * _GB

    @property
    def log_limit_bytes(self) -> int:
        """`retention_bytes`, but at most half of the data file.

        Else a small file ends full of its own log, however often one record is written.
        """
        return min(self.retention_bytes, self.map_size // 2)

    @property
    def segment_limit_bytes(self) -> int:
        """`segment_bytes`, but at most a sixteenth of the data file.

        The log goes by whole segments, so several must fit into its half.
        """
        return min(self.segment_bytes, self.map_size // 16)
