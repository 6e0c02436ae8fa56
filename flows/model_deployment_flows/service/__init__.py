"""Prefect's server, and the processes of runs: starts, watches and ends them."""
