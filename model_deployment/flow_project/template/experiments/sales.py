"""Predicts the sales of the next days from the sales of the last 30 days."""

from model_deployment_flows.series import SeriesExperiment


class Sales(SeriesExperiment):
    """The networks and their preparation come from the base class."""
