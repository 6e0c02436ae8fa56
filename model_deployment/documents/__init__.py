"""Stores captures, labels, metrics and reports: in MongoDB, or in a file in the data directory.

No request touches the store: captures go to the spool first, and from the spool to the store.
"""
