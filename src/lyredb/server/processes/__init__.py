"""The processes of `lyredb run`: a supervisor, one writer, and workers that share the ports.

The supervisor (`supervisor`) takes the lock of the data directory and the ports, starts the
others (`child`), gives each its order (`order`) and joins them by socket pairs that it sends
over their control channels (`channel`, `messages`). It keeps the ports and the lock for as
long as it lives: a worker or a writer that dies is started anew behind them (`child`), and
its connections wait in the port's queue meanwhile.

The writer (`writer_process`) alone writes the store; workers (`worker_process`) serve. Both
start as ``python -m lyredb.server.processes``: never by a fork without exec, so that nothing
of the supervisor (locks, threads, an open store) lives on in them.
"""
