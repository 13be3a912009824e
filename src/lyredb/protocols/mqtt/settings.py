"""The rows that MQTT adds to the settings table."""

from __future__ import annotations

from typing import Final

from lyredb.plugins.settings import OFF, Setting
from lyredb.sessions.claims_client import MAX_WILL_BYTES

MQTT_SETTINGS: Final = (
    Setting(
        "mqtt.network.port",
        1883,
        "port",
        "TCP port for MQTT 3.1, 3.1.1 and 5; 1883 is the registered one. It may be `off`.",
        minimum=OFF,
        option="--mqtt-port",
    ),
    Setting(
        "mqtt.network.securePort",
        OFF,
        "port",
        "The port for the same over TLS; 8883 is the registered one. Off, since it needs the "
        "files of `tls.certificate` and `tls.privateKey`.",
        minimum=OFF,
    ),
    Setting(
        "mqtt.network.mtls",
        "false",
        "choice",
        "Whether clients of `mqtt.network.securePort` are asked for a certificate from "
        "`tls.certificateAuthority`, and whether they need one (`required`). Its common name is "
        "the user of a client without a user name and password of its own.",
        choices=("false", "true", "required"),
    ),
    Setting(
        "mqtt.webSocket",
        True,
        "flag",
        "Take MQTT over WebSocket on the HTTP port, on any path, from clients that offer "
        "the sub-protocol mqtt.",
    ),
    Setting(
        "mqtt.requireAuthentication",
        True,
        "flag",
        "Refuse clients without user name and password. When false they are let in with the "
        "role `anonymous`, which has no rights until you define it.",
    ),
    Setting(
        "mqtt.maxConnections",
        10_000,
        "integer",
        "Connected clients at most; further ones are told that the server is busy.",
        minimum=1,
    ),
    Setting(
        "mqtt.connectTimeout",
        10.0,
        "duration",
        "Time from the TCP connection to a complete CONNECT and its answer.",
        minimum=0.5,
        maximum=600,
    ),
    Setting(
        "mqtt.maxKeepAlive",
        65_535.0,
        "duration",
        "Longest keep-alive; a v5 client that asks for a longer one, or for none, is told "
        "to use this. The default, the protocol's own maximum, changes nothing.",
        minimum=1,
        maximum=65_535,
    ),
    Setting(
        "mqtt.maxSessionExpiry",
        2_592_000.0,
        "duration",
        "How long a session outlives its connection at most, whatever a client asks for; 3.1 "
        "and 3.1.1 clients without Clean Session ask for ever. 30 days, since what is published "
        "with QoS 1 or 2 to its filters goes through the log for as long. 0: none does.",
        minimum=0,
        maximum=0xFFFF_FFFF,
    ),
    Setting(
        "mqtt.topicAliasesOut",
        0,
        "integer",
        "Topics that a v5 client gets by a number after the first time, if its Topic Alias "
        "Maximum allows it. Saves bytes on thin lines and costs a rewrite of every frame for "
        "that client alone, so it is off.",
        minimum=0,
        maximum=65_535,
    ),
    Setting(
        "mqtt.maxPacketSize",
        1_200_000,
        "size",
        "Largest packet taken from a client; the default leaves room for a record of 1 MB "
        "with its topic and properties. Checked from the header, before the rest is read.",
        minimum=1_024,
        maximum=268_435_460,
    ),
    Setting(
        "mqtt.receiveMaximum",
        1_000,
        "integer",
        "QoS 1 and 2 messages of a client that may wait for the disk or, of QoS 2, for their "
        "PUBREL; a v5 client is told and disconnected beyond it, another one is not read until "
        "fewer wait for the disk.",
        minimum=1,
        maximum=65_535,
    ),
    Setting(
        "mqtt.topicAliasMaximum",
        100,
        "integer",
        "Topic aliases that a v5 client may use for what it publishes; 0 for none. Each keeps "
        "a topic for as long as the connection lasts, of up to `mqtt.maxTopicLength`; a device "
        "has few topics.",
        minimum=0,
        maximum=65_535,
    ),
    Setting(
        "mqtt.maxInflight",
        100,
        "integer",
        "QoS 1 messages sent to a 3.1.1 client and not acknowledged yet; a v5 client says "
        "its own Receive Maximum.",
        minimum=1,
        maximum=32_767,
    ),
    Setting(
        "mqtt.bufferSize",
        1_000_000,
        "size",
        "Bytes that may wait for a client that reads slowly; beyond it its QoS 0 messages "
        "are dropped and counted, its QoS 1 messages are queued.",
        minimum=16_384,
    ),
    Setting(
        "mqtt.maxQueued",
        10_000,
        "integer",
        "Messages that may wait for a client's acknowledgements, beyond those in flight.",
        minimum=1,
    ),
    Setting(
        "mqtt.maxQueuedSize",
        8_000_000,
        "size",
        "Bytes of messages that may wait for a client's acknowledgements.",
        minimum=16_384,
    ),
    Setting(
        "mqtt.onQueueFull",
        "drop",
        "choice",
        "What happens to a QoS 1 message that finds its client's queue full: drop it, or "
        "disconnect the client with 0x97 so that it knows.",
        choices=("drop", "disconnect"),
    ),
    Setting(
        "mqtt.deletePayload",
        "null",
        "choice",
        "Payload that says that a record of a table was deleted: null in the reader's "
        "format, or empty as for a cleared retained message. Open topics are always empty.",
        choices=("null", "empty"),
    ),
    Setting(
        "mqtt.maxTopicLevels",
        100,
        "integer",
        "Levels (parts between slashes) of a topic or topic filter.",
        minimum=1,
        maximum=65_535,
    ),
    Setting(
        "mqtt.maxSubscriptions",
        1_000,
        "integer",
        "Subscriptions of one client at a time; further ones get 0x97 in the SUBACK.",
        minimum=1,
    ),
    Setting(
        "mqtt.maxTopicLength",
        4_096,
        "size",
        "Bytes of a topic or topic filter. Topics in use are kept in memory, tens of "
        "thousands of them; at the 65,535 bytes of the protocol that would be gigabytes.",
        minimum=64,
        maximum=65_535,
    ),
    Setting(
        "mqtt.maxWillSize",
        65_536,
        "size",
        "Payload and properties of a will. Each is kept twice, by the worker of its client "
        "and beside the writer, where it is written from when that worker dies.",
        minimum=1_024,
        maximum=MAX_WILL_BYTES,
    ),
    Setting(
        "mqtt.maxUnacknowledgedSize",
        8_000_000,
        "size",
        "Bytes of a client's retained messages that may wait for the disk; beyond it the "
        "client is not read until half of them are there. Room for some of the largest.",
        minimum=16_384,
    ),
    Setting(
        "mqtt.sysInterval",
        10.0,
        "duration",
        "How often the numbers below `$SYS` are made anew, and those that have changed are told; "
        "0 for no `$SYS`. As often as mosquitto does; the averages per minute need no more.",
        maximum=86_400,
    ),
    Setting(
        "mqtt.sysReaders",
        "rights",
        "choice",
        "Who may read `$SYS`: with `rights` super users, and whose role has a topic pattern for "
        "it, such as `$SYS/#`; with `everybody` each client that may log in. They tell how much "
        "is going on, which is not everybody's business.",
        choices=("rights", "everybody"),
    ),
    Setting(
        "mqtt.idleTimeout",
        0.0,
        "duration",
        "A client with keep-alive 0 that sends nothing for so long is disconnected; 0 lets "
        "it stay, as the protocol has it, until the network says that it is gone.",
        maximum=31_536_000,
    ),
    Setting(
        "mqtt.maxBuffered",
        512_000_000,
        "size",
        "Bytes that may wait in a worker for all its clients that read slowly, each counted "
        "from a quarter of bufferSize on; beyond it those with the most are disconnected. "
        "As much as 60 full queues, so that a few stuck readers do not fill the memory.",
        minimum=1_048_576,
    ),
    Setting(
        "mqtt.network.unixSocket",
        "",
        "text",
        "Path of a Unix socket to listen on beside the ports; none by default. Nobody on the "
        "network can reach it. The first worker serves it.",
    ),
    Setting(
        "mqtt.network.unixSocketMode",
        "660",
        "text",
        "Its permissions, octal: who may write to the file may connect, then log in as "
        "elsewhere. The user and the group of the server by default.",
    ),
    Setting(
        "mqtt.bridges",
        "",
        "text",
        "File with bridges to other brokers, YAML; none by default. It is read at the start.",
    ),
    Setting(
        "mqtt.flappingCount",
        0,
        "integer",
        "A client whose connections have ended so often within flappingWindow is let in no "
        "more for flappingBan (CONNACK 0x8A). 0 bans nobody: what is too often depends on the "
        "devices, and some come for each message. 15 is what EMQX begins with. Each of "
        "several workers counts its share.",
        maximum=1_000_000,
    ),
    Setting(
        "mqtt.flappingWindow",
        60.0,
        "duration",
        "See flappingCount; a client with normal trouble has backed off to more than some "
        "seconds by then.",
        minimum=1.0,
        maximum=86_400.0,
    ),
    Setting(
        "mqtt.flappingBan",
        300.0,
        "duration",
        "See flappingCount; long enough for others to have peace, and short enough for "
        "whoever was repaired meanwhile. A restart of the server lifts it.",
        minimum=1.0,
        maximum=86_400.0,
    ),
)
