"""Time series: a window of values in, the next values out; networks of Keras and what they have to beat."""

from model_deployment_flows.series.experiment import SeriesExperiment

__all__ = ["SeriesExperiment"]
