"""Runs of flows (training, evaluation, deployment), carried out by Prefect in an environment of its own."""
