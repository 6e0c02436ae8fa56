"""Forwards predictions: finds the model of a path, has the gate check the request, calls the model.

The proxy shares nothing with the controller but the route table that it is given and the counters that it
returns, so that it may become a process of its own.
"""
