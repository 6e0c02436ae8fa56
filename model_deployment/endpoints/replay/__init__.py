"""Checks and replay: requests that a candidate answers before it meets a caller."""
