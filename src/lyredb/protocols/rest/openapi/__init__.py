"""The description of what REST offers, as an OpenAPI 3.0.3 document made of the schemas.

Nothing is written by hand twice: paths come from exports, bodies from types, statuses
from what the methods answer. A test asks a real server for all that a document promises.
"""
