"""WebSocket: a subscription per connection, for records, collections and topics.

Current state, ``{"type": "ready"}``, then every change as an envelope: text frames for
JSON, binary ones for CBOR and MessagePack. What clients send is ignored.
"""
