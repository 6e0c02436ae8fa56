"""Launches in containers: images of models' environments, limits, sockets, logs."""
