"""Finding records: conditions, what is selected of a record, and how it is executed.

Equality only for now. A comparator is a name in `conditions.COMPARATORS` and its meaning
a function in `matching`; the planner that orders several indexes will stand between
`query` and `execute`.
"""
