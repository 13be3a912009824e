"""What LyreDB speaks: one package per protocol.

Each is a codec without I/O, a connection, and a table from the errors of
`lyredb.errors` to its own codes. A protocol imports ``http`` at most, never another
one, and does everything that is not wire format through ``lyredb.resources``.
"""
