"""Finding records: what a query is, what it means, and how it is executed.

A query is a value of `terms`, whoever wrote it: `parse_url` reads the text of a URL,
`parse_object` an object, `lyredb.tables.search` makes one in Python, and `format_url` writes
one as text again. `tree` and `predicate` give it a meaning against a table: `comparators`
names the comparators, `compare` has what each holds for. `plan` chooses what is read, an
`access` to keys, records or `ranges` of an index; `order` and `shaping` make the answer of it,
and `execute` runs all that as of one position, which `view` reads and `results` hands out.
"""
