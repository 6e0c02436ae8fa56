"""Analyses new training data against an experiment's original data: findings, JSON and a page.

Needs pandas; runs in the environment of flows only.
"""

from model_deployment.degradation.analysis.assemble import analyse
from model_deployment.degradation.analysis.result import Analysis, DataFinding

__all__ = ["Analysis", "DataFinding", "analyse"]
