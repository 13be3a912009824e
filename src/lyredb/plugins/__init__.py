"""The contract between LyreDB and what is plugged into it.

Protocol types of the seams, the scope that a plugin is given, the form of a
setting. Imports nothing of the package but ``lyredb.errors``, so that every room,
and every distribution outside of this one, may import it.
"""
