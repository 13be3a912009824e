"""The settings of logins that others decide: an issuer of tokens, a service that is asked."""

from __future__ import annotations

from typing import Final

from lyredb.plugins.settings import Setting
from lyredb.security.login_service import TIMEOUT_S

LOGIN_SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "authentication.jwt.secret",
        "",
        "text",
        "The secret of whoever issues JSON Web Tokens (HS256, HS384, HS512), at least 32 bytes. "
        "Better in the variable or in `authentication.jwt.secretFile` than in a file of settings. "
        "One of the four rows `secret`, `secretFile`, `publicKey`, `jwks` turns tokens on.",
    ),
    Setting(
        "authentication.jwt.secretFile",
        "",
        "text",
        "The file of that secret, taken byte by byte without a line end at its end.",
    ),
    Setting(
        "authentication.jwt.publicKey",
        "",
        "text",
        "The file of the issuer's public key or certificate in PEM: RSA, EC or Ed25519.",
    ),
    Setting(
        "authentication.jwt.jwks",
        "",
        "text",
        "The issuer's key set: a file, or an `https://` address (`http://` on this machine only).",
    ),
    Setting(
        "authentication.jwt.refresh",
        300.0,
        "duration",
        "How often the key set is read again. A new key works after this time at the latest, and "
        "so long does one that was withdrawn. The keys stay while the address does not answer.",
        minimum=10.0,
        maximum=86_400.0,
    ),
    Setting(
        "authentication.jwt.issuer",
        "",
        "text",
        "What `iss` of a token has to be. Empty: whatever the key has signed is taken.",
    ),
    Setting(
        "authentication.jwt.audience",
        "",
        "text",
        "What `aud` of a token has to have. Empty: tokens that are for somebody are refused, as "
        "they are not for this server.",
    ),
    Setting(
        "authentication.jwt.userClaim",
        "sub",
        "text",
        "The claim that is the user's name.",
    ),
    Setting(
        "authentication.jwt.roleClaim",
        "",
        "text",
        "The claim that is the role of whoever is no user of this server. Empty: tokens give no "
        "roles. None gives a role that may do everything.",
    ),
    Setting(
        "authentication.jwt.role",
        "",
        "text",
        "The role of whoever is no user of this server, when the token gives none. Empty: only "
        "users of this server log in.",
    ),
    Setting(
        "authentication.http.url",
        "",
        "text",
        "A service that is asked about names that are no users of this server: a POST of JSON "
        "with `username`, `password`, `clientid` and `address`. Empty: nobody is asked.",
    ),
    Setting(
        "authentication.http.timeout",
        TIMEOUT_S,
        "duration",
        "How long the service may take; nobody is let in that it does not answer for.",
        minimum=0.1,
        maximum=60.0,
    ),
    Setting(
        "authentication.http.role",
        "",
        "text",
        "The role of whom the service lets in, when its answer gives none.",
    ),
)
