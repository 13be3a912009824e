"""Server-Sent Events: a GET that never ends, for records, collections and topics.

Current state, ``event: ready``, then every change. ``id:`` is the position, so that a
browser's EventSource resumes by itself without a gap or a double.
"""
