"""The numbers of all processes of a server: collected once a second, told as metrics.

Each room counts in plain integers and offers a frozen ``statistics()``. A process takes
these as a `snapshot.Snapshot`; workers send theirs to the writer process, which keeps the
last of each; any worker answers ``/metrics`` with all of them, and ``lyredb status``
shows the same numbers. `table.METRICS` says what each is called and means.
"""
