"""Devices at the edge: what they should run, how releases reach them, and what they say."""
