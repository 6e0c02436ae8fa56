"""Decides whether a model has degraded: drift, data quality and metrics become one verdict and one page.

``verdict`` decides for a report, ``metric_verdict`` for one metric. A report is made in a short-lived
child process (``python -m model_deployment.degradation FOLDER``); the controller imports only modules
without NumPy and pandas.
"""
