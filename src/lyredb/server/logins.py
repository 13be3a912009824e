"""How clients of the HTTP port may say who they are, by the settings."""

from __future__ import annotations

from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.origins import SETTING, Origins
from lyredb.security.authenticator import Authenticator
from lyredb.security.token_key import token_key
from lyredb.security.tokens import Tokens
from lyredb.security.users import Users
from lyredb.security.web_sessions import WebSessions
from lyredb.server.launch import Launch
from lyredb.server.node import Node


def http_logins(
    launch: Launch, node: Node, users: Users, authenticator: Authenticator
) -> Authentication:
    """Return who decides logins on the HTTP port.

    Raises:
        SettingError: An allowed origin is none.
        StorageFailed: The key that signs tokens cannot be read or made.
    """
    settings = launch.settings
    sessions = None
    if settings.flag("authentication.enableSessions"):
        lasting_s = settings.seconds("authentication.sessionTimeout")
        sessions = WebSessions(node.engine, node.writer, lasting_s=lasting_s)
    tokens = Tokens(
        token_key(launch.data_dir),
        users,
        access_s=settings.seconds("authentication.tokenTimeout"),
        refresh_s=settings.seconds("authentication.refreshTokenTimeout"),
    )
    return Authentication(
        authenticator,
        authorize_local=launch.authorize_local,
        sessions=sessions,
        tokens=tokens,
        origins=Origins.of(settings.text(SETTING)),
        secure_cookies=settings.flag("authentication.secureCookies"),
        identify=node.database.identify,
    )
