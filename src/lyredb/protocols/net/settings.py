"""The rows of connections, the PROXY protocol and TLS; they hold for every listener."""

from __future__ import annotations

from typing import Final

from lyredb.plugins.settings import Setting

NET_SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "network.maxConnections",
        25_000,
        "integer",
        "Connections at a time, of every protocol together; further ones are closed unheard, "
        "but for a hundred of the operations port, which tells that the server is full. "
        "More than those of HTTP and MQTT together, which say so to the client before. Each "
        "worker takes its share of this and of the two limits below.",
        minimum=1,
        live=True,
    ),
    Setting(
        "network.maxConnectionsPerAddress",
        1_000,
        "integer",
        "Connections at a time from one IPv4 address or one /64 of IPv6: many devices are "
        "behind one address of an office or a carrier, but no single address may take all "
        "places. Loopback is not limited, since a proxy there brings everybody.",
        minimum=1,
        live=True,
    ),
    Setting(
        "network.connectRate",
        100,
        "integer",
        "Connections per second from one such address, ten seconds' worth of them at once: "
        "enough for a fleet that comes back, and a bound on the handshakes and logins that "
        "one stranger can ask for. Loopback is not limited.",
        minimum=1,
        live=True,
    ),
    Setting(
        "network.handshakeTimeout",
        10.0,
        "duration",
        "Time for the header of the PROXY protocol, and then for the handshake of TLS; two "
        "round trips each, so ten seconds do on a bad line.",
        minimum=0.1,
    ),
    Setting(
        "network.proxyProtocol",
        "off",
        "choice",
        "`required`: every connection but those of the operations port begins with a header of "
        "the PROXY protocol, version 2, from a proxy of `network.proxyTrusted`, and the address "
        "in it counts for limits, logs and logins. Off, since whoever may send such a header "
        "can claim any address.",
        choices=("off", "required"),
    ),
    Setting(
        "network.proxyTrusted",
        "127.0.0.1, ::1",
        "text",
        "Addresses and networks of proxies, with commas between; connections of others are "
        "closed. Without `network.proxyProtocol` it says nothing.",
    ),
    Setting(
        "tls.certificate",
        "",
        "text",
        "File with the certificate of this server and those that lead to its authority, PEM. "
        "It and the next three are looked at every two seconds: new connections get new files "
        "without a restart, and a file that does not work leaves the old one in use. A worker that "
        "is started again meanwhile has no old one: it refuses TLS, until the files work.",
    ),
    Setting(
        "tls.privateKey", "", "text", "File with the key of the certificate, PEM, unencrypted."
    ),
    Setting(
        "tls.certificateAuthority",
        "",
        "text",
        "File with the authorities that certificates of clients come from, PEM; for "
        "`http.mtls` and `mqtt.network.mtls`.",
    ),
    Setting(
        "tls.certificateRevocationList",
        "",
        "text",
        "File with the lists of revoked certificates (CRL) of those authorities, PEM. A client "
        "whose certificate is in one, or whose authority has none there or one that is out of "
        "date, is refused in the handshake. Connections that are open stay, also of a client whose "
        "certificate is revoked then.",
    ),
)
