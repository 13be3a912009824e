"""The servers that are measured: how each is started, watched and ended."""
