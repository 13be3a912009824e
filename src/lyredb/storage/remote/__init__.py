"""The way of writes between a worker and a writer in a process of its own.

A worker has a `client.RemoteWriter`, the writer's process a `service.WriterService`; between
them is a Unix stream socket with one send per tick and direction. Why it is so, and what
happens when either of them dies, is in ``docs/design/0007-writer-process.md``.
"""
