"""The agent of a device: loads signed releases of models from a controller, and predicts with them
locally."""

#: ``major.minor.patch``; a manifest may ask for a newer one.
__version__ = "0.1.0"
