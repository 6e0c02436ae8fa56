"""The sentences of a report: what was found, said for people. Nothing is decided here."""
