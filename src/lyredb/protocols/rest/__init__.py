"""REST: records, properties and collections over HTTP, in JSON, CBOR and MessagePack.

A request is resolved, authenticated, then answered by one function per method and kind
of target; what a record is and who may do what is decided in ``lyredb.resources``.
"""
