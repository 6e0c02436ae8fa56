"""The name under which Prefect has the flows."""

DEPLOYMENT_NAME = "model-deployment"
"""Each flow is served as a Prefect deployment of this name."""
