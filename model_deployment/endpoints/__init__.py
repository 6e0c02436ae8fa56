"""Endpoints: stable addresses that follow aliases of the registry, and the rollouts of new versions."""
