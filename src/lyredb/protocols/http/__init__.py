"""The HTTP port: uvicorn in our loop with a guard, a router, logins, errors, web files.

REST, SSE, WebSocket and MQTT over WebSocket mount here and know each other only through
this room. `HttpServer` is the port; it is the ``http`` of a plugin's scope.
"""

from lyredb.protocols.http.authentication import Authentication, authentication_of
from lyredb.protocols.http.limits import HttpLimits
from lyredb.protocols.http.listen import bind_socket
from lyredb.protocols.http.request import Request
from lyredb.protocols.http.server import HttpServer

__all__ = [
    "Authentication",
    "HttpLimits",
    "HttpServer",
    "Request",
    "authentication_of",
    "bind_socket",
]
