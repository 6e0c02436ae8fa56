"""The guards of a rollout: what is counted against the candidate, from traffic and from labels."""
