"""Writes what was asked and answered: captures into a spool, on to the document store; counts by minute."""
