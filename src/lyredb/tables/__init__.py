"""What records may be: schemas, keys and values, queries, and typed classes for code.

A schema is declared as SDL or as classes (`declare`), loaded by `source`, and brought to
the store by `catalogue`. A `stored.StoredTable` turns records into stored bytes and back;
`query` finds them. Knows no users and no protocols.
"""
