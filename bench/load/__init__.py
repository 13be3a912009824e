"""Bounded load: our own MQTT clients on raw sockets, and wrk for HTTP."""
