"""Who somebody is: users, passwords, and the decision class of each.

Knows nothing of what anybody may do with a table; that is ``lyredb.resources.access``.
"""
