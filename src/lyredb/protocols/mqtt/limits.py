"""The limits of MQTT connections, read once from the settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from lyredb.plugins.scope import Settings
from lyredb.protocols.mqtt.flapping import FlappingLimits


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of a connection; see ``settings.py`` for what each is for."""

    require_authentication: bool = True
    max_connections: int = 10_000
    connect_timeout_s: float = 10.0
    max_keep_alive_s: int = 65_535
    max_session_expiry_s: int = 2_592_000
    max_packet_bytes: int = 1_200_000
    receive_maximum: int = 1_000
    topic_alias_maximum: int = 100
    max_inflight: int = 100
    max_aliases_out: int = 0
    buffer_bytes: int = 1_000_000
    max_queued: int = 10_000
    max_queued_bytes: int = 8_000_000
    disconnect_when_full: bool = False
    null_delete: bool = True
    max_topic_levels: int = 100
    max_topic_bytes: int = 4_096
    max_subscriptions: int = 1_000
    max_will_bytes: int = 65_536
    unacknowledged_bytes: int = 8_000_000
    idle_timeout_s: float = 0.0
    max_buffered_bytes: int = 512_000_000
    flapping: FlappingLimits = field(default_factory=FlappingLimits)

    @classmethod
    def of(cls, settings: Settings, workers: int = 1) -> Limits:
        """Read them from the settings in force, for one of so many workers."""
        return cls(
            require_authentication=settings.flag("mqtt.requireAuthentication"),
            max_connections=settings.integer("mqtt.maxConnections"),
            connect_timeout_s=settings.seconds("mqtt.connectTimeout"),
            max_keep_alive_s=int(settings.seconds("mqtt.maxKeepAlive")),
            max_session_expiry_s=int(settings.seconds("mqtt.maxSessionExpiry")),
            max_packet_bytes=settings.integer("mqtt.maxPacketSize"),
            receive_maximum=settings.integer("mqtt.receiveMaximum"),
            topic_alias_maximum=settings.integer("mqtt.topicAliasMaximum"),
            max_inflight=settings.integer("mqtt.maxInflight"),
            max_aliases_out=settings.integer("mqtt.topicAliasesOut"),
            buffer_bytes=settings.integer("mqtt.bufferSize"),
            max_queued=settings.integer("mqtt.maxQueued"),
            max_queued_bytes=settings.integer("mqtt.maxQueuedSize"),
            disconnect_when_full=settings.text("mqtt.onQueueFull") == "disconnect",
            null_delete=settings.text("mqtt.deletePayload") == "null",
            max_topic_levels=settings.integer("mqtt.maxTopicLevels"),
            max_topic_bytes=settings.integer("mqtt.maxTopicLength"),
            max_subscriptions=settings.integer("mqtt.maxSubscriptions"),
            max_will_bytes=settings.integer("mqtt.maxWillSize"),
            unacknowledged_bytes=settings.integer("mqtt.maxUnacknowledgedSize"),
            idle_timeout_s=settings.seconds("mqtt.idleTimeout"),
            max_buffered_bytes=settings.integer("mqtt.maxBuffered"),
            flapping=FlappingLimits(
                settings.integer("mqtt.flappingCount"),
                settings.seconds("mqtt.flappingWindow"),
                settings.seconds("mqtt.flappingBan"),
            ).shared_by(workers),
        )

    @property
    def high_water_bytes(self) -> int:
        """A client with more waiting than this is congested."""
        return self.buffer_bytes // 4

    @property
    def low_water_bytes(self) -> int:
        """A congested client with no more than this can take more again."""
        return self.buffer_bytes // 16
