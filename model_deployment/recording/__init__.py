"""Writes captures (requests with answers) through a local spool to the store; counts requests."""
