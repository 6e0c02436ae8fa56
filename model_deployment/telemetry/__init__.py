"""The figures of a controller for Prometheus: one snapshot, written in its text format."""
