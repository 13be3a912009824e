"""Who gets what: topic filters, groups of equal subscribers, one write per tick.

Knows no user and no protocol version: a principal is a key, an encoding is whoever
makes frames. What access and the registry decide comes in through the Protocol classes
of `lyredb.delivery.admission`. How it works and why: ``DESIGN.md`` beside this file.
"""
