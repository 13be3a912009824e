"""Worst days at full size: what one client may cost, and what the others feel of it."""
