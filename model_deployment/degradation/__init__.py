"""Decides whether a model has degraded: drift, data quality and metrics become one verdict and one page.

It runs in a short-lived child process (``python -m model_deployment.degradation FOLDER``); the controller
imports its pure modules only.
"""
