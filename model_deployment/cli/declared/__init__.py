"""Deployments and endpoints that a file declares: what differs, and the calls that end it."""
