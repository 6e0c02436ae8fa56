"""The metrics of the controller for Prometheus: takes a snapshot, and writes it in the text format."""
