"""Predictions: a route table, and the bytes between callers and models.

Shares nothing with the controller but the table it is given and the counters it gives back, so that it
may become processes of its own.
"""
