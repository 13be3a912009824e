"""MQTT 3.1, 3.1.1 and 5 over TCP, and over WebSocket by the HTTP port's upgrade.

A topic is the path of a record: a retained publish writes it, a subscription reads
it and then hears every change. ``DESIGN.md`` has the rules and why they are so.
"""
