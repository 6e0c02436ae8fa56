"""Answers predictions: finds the model of a path, has the gate check the request, calls the model.

A proxy is a process of its own, or a task of the controller if ``MODEL_DEPLOYMENT_PROXIES`` is 0. The
controller pushes the route table to it; the proxy reports counts and events (``protocol.py``). It forwards
every request that is no prediction to the controller.
"""
