"""The options of ``lyredb pub`` and ``lyredb sub`` that say how to connect, and the client.

They are those of mosquitto_pub and mosquitto_sub, by name and meaning, so they are read by
argparse and not by typer: ``-h`` is the host there, and ``-D`` takes three values or four.
"""

from __future__ import annotations

import argparse
import os
import socket
import ssl
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import unquote, urlsplit

from lyredb.cli.mqtt_checks import check
from lyredb.cli.mqtt_properties import connect_properties, properties_of
from lyredb.errors import InvalidInput

if TYPE_CHECKING:
    import paho.mqtt.client as paho
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

PLAIN_PORT: Final = 1883
SECURE_PORT: Final = 8883
_VERSIONS: Final = {
    "mqttv31": 3,
    "31": 3,
    "3.1": 3,
    "mqttv311": 4,
    "311": 4,
    "3.1.1": 4,
    "mqttv5": 5,
    "5": 5,
}
_TLS_VERSIONS: Final = {"tlsv1.2": ssl.TLSVersion.TLSv1_2, "tlsv1.3": ssl.TLSVersion.TLSv1_3}
_ABSENT: Final = (
    "Of mosquitto's flags --psk, --psk-identity, --proxy and --tls-engine are not there; "
    "docs/cli.md says what to do instead."
)


class Parser(argparse.ArgumentParser):
    """An argument parser with the connection's options and ``-h`` for the host."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(f"lyredb {name}", description=description, epilog=_ABSENT, add_help=False)
        self.add_argument("--help", action="help", help="show this help")
        self._add_server(name)
        self._add_session()
        self._add_tls()
        self._add_will()

    def error(self, message: str) -> NoReturn:
        """Print a sentence, and exit with 2."""
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)

    def _add_server(self, name: str) -> None:
        add = self.add_argument_group("server").add_argument
        add("-h", "--host", metavar="HOST", help="the server; localhost by default")
        add("-p", "--port", metavar="PORT", type=int, help="1883, or 8883 with TLS")
        add("--unix", metavar="PATH", help="a Unix socket instead")
        add("-L", "--url", metavar="URL", help="mqtt(s)://[user[:password]@]host[:port]/topic")
        add("-u", "--username", metavar="NAME")
        add("-P", "--pw", metavar="PASSWORD", help="others on this machine may see it")
        add("-A", dest="bind_address", metavar="ADDRESS", default="", help="connect from here")
        add("--nodelay", action="store_true", help="disable Nagle's algorithm")
        add("-i", "--id", metavar="ID", help="the client identifier")
        add("-I", "--id-prefix", metavar="PREFIX", help=f"…{name} identifies itself by this + pid")

    def _add_session(self) -> None:
        add = self.add_argument_group("session").add_argument
        add("-V", "--protocol-version", choices=sorted(_VERSIONS), default="mqttv311")
        add("-k", "--keepalive", metavar="SECONDS", type=int, default=60)
        add("-c", "--disable-clean-session", action="store_true", help="keep the session")
        add("-x", "--session-expiry-interval", metavar="SECONDS", help="MQTT 5; -1 for ever")
        add("-q", "--qos", type=int, choices=(0, 1, 2), default=0)
        add("-d", "--debug", action="store_true", help="tell each packet on standard error")
        add("--quiet", action="store_true", help="no messages on standard error")
        add(
            "-D",
            "--property",
            dest="properties",
            action="append",
            nargs="+",
            metavar="WORD",
            default=[],
            help="COMMAND NAME VALUE: an MQTT 5 property, such as publish content-type text/plain",
        )

    def _add_tls(self) -> None:
        add = self.add_argument_group("TLS").add_argument
        add("--cafile", metavar="FILE", help="certificates of authorities")
        add("--capath", metavar="DIR", help="a directory of them")
        add("--tls-use-os-certs", action="store_true", help="those of this system")
        add("--cert", metavar="FILE", help="the client's own")
        add("--key", metavar="FILE", help="and its key")
        add("--ciphers", metavar="LIST")
        add("--tls-version", choices=sorted(_TLS_VERSIONS))
        add("--tls-alpn", metavar="PROTOCOL")
        add("--insecure", action="store_true", help="do not check the server's name")

    def _add_will(self) -> None:
        add = self.add_argument_group("will").add_argument
        add("--will-topic", metavar="TOPIC")
        add("--will-payload", metavar="TEXT")
        add("--will-qos", type=int, choices=(0, 1, 2), default=0)
        add("--will-retain", action="store_true")


def url_topic(options: argparse.Namespace) -> str:
    """Take server, user and password from ``-L`` where it is given; return its topic."""
    if options.url is None:
        return ""
    try:
        parts = urlsplit(options.url)
        options.port = options.port if parts.port is None else parts.port
    except ValueError as error:
        raise InvalidInput(f"the URL cannot be read: {error}") from error
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise InvalidInput("the URL must be mqtt://host/topic or mqtts://host/topic")
    options.host = parts.hostname
    options.tls_use_os_certs = options.tls_use_os_certs or (
        parts.scheme == "mqtts" and not options.cafile and not options.capath
    )
    if parts.username:
        options.username = unquote(parts.username)
    if parts.password:
        options.pw = unquote(parts.password)
    return unquote(parts.path[1:])


def make_client(options: argparse.Namespace, name: str) -> paho.Client:
    """Return a client that is not connected yet.

    Raises:
        InvalidInput: Options are wrong or contradict each other, or a file cannot be read.
    """
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    check(options)
    version = version_of(options)
    client_id = options.id or f"{options.id_prefix or f'lyredb_{name}_'}{os.getpid()}"
    if options.id is None and options.disable_clean_session:
        raise InvalidInput("-c keeps a session, which needs an identifier: -i")
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id,
        clean_session=None if version == 5 else not options.disable_clean_session,
        protocol=MQTTProtocolVersion(version),
        transport="unix" if options.unix else "tcp",
    )
    if options.username is not None:
        client.username_pw_set(options.username, _bytes_of(options.pw))
    if options.will_topic:
        client.will_set(
            options.will_topic,
            _bytes_of(options.will_payload),
            options.will_qos,
            options.will_retain,
            properties_of(options, "will"),
        )
    if is_secure(options):
        client.tls_set_context(_tls_of(options))
        client.tls_insecure_set(options.insecure)
    if options.nodelay:
        client.on_socket_open = _disable_nagle
    if options.debug:
        client.on_log = lambda _, __, ___, text: print(text, file=sys.stderr)
    return client


def connect(client: paho.Client, options: argparse.Namespace) -> None:
    """Connect; the answer of the server comes later.

    Raises:
        InvalidInput: The server cannot be reached.
    """
    host = options.unix or options.host or "localhost"
    port = options.port or (SECURE_PORT if is_secure(options) else PLAIN_PORT)
    extra: dict[str, Any] = {}
    if version_of(options) == 5:
        extra["clean_start"] = not options.disable_clean_session
        extra["properties"] = connect_properties(options)
    try:
        client.connect(host, port, options.keepalive, options.bind_address, **extra)
    except (OSError, ValueError) as error:
        place = host if options.unix else f"{host}:{port}"
        raise InvalidInput(f"cannot connect to {place}: {error}") from error


def reason_text(reason: ReasonCode, properties: Properties | None) -> str:
    """Return why a server refuses: its reason code, and what it says besides in MQTT 5."""
    said = getattr(properties, "ReasonString", "")
    # Whatever a server says goes to a terminal.
    shown = "".join(one if one.isprintable() else "?" for one in said)
    return f"{reason} ({shown})" if shown else str(reason)


def version_of(options: argparse.Namespace) -> int:
    """Return 3, 4 or 5; properties are of MQTT 5 only, and make it that."""
    if options.properties:
        return 5
    return _VERSIONS[options.protocol_version]


def is_secure(options: argparse.Namespace) -> bool:
    """Tell whether any option asks for TLS."""
    return bool(options.cafile or options.capath or options.tls_use_os_certs or options.cert)


def _tls_of(options: argparse.Namespace) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.cafile, capath=options.capath)
        if options.tls_use_os_certs:
            context.load_default_certs()
        if options.cert:
            context.load_cert_chain(options.cert, options.key)
        if options.ciphers:
            context.set_ciphers(options.ciphers)
        if options.tls_version:
            context.minimum_version = context.maximum_version = _TLS_VERSIONS[options.tls_version]
        if options.tls_alpn:
            context.set_alpn_protocols([options.tls_alpn])
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(f"the files for TLS cannot be used: {error}") from error
    return context


def _bytes_of(argument: str | None) -> Any:
    """Payloads and passwords are any bytes; paho takes them but names text alone."""
    return None if argument is None else os.fsencode(argument)


def _disable_nagle(_: paho.Client, __: object, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
