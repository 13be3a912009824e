"""Tables and queries beside SQLite: the same data, the same questions, the same answers."""
