"""The warm parent: a program of its own that has imported what models need, and forks their processes.

It shares no module with the controller but :mod:`model_deployment.worker.protocol`, which both speak.
"""
