"""Composition: settings, the node, the worker with its listeners, its life and its logs.

The one room that knows all others.
"""
