"""The degradation report: a program of its own that reads a folder and writes a verdict into it.

It runs in a short-lived child process (``python -m model_deployment.monitoring.report FOLDER``) and
knows nothing of the controller. The pure parts: ``harmonise`` makes columns comparable, ``drift`` and
``quality`` compare them, ``metrics`` judges labelled predictions, ``verdict`` decides. ``engine`` puts
them together, ``page`` and ``deep`` make the HTML.
"""
