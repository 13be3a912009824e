"""Bytes on disk: records, indexes and the log, in one LMDB environment.

Every write of a node goes through one `writer.Writer`, which appends its entries to the
log in the same commit as the records and indexes. Readers take an
`snapshot.Snapshot` and follow the log from its position.

The room knows no types, users or protocols. What it stores, byte by byte, is in
``docs/design/0001-stored-formats.md``.
"""
