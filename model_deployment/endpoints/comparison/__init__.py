"""The comparison of a rollout's versions: as JSON, and as a page."""
