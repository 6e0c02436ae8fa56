"""The HTTP interface beside predictions."""
