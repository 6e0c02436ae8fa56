"""The experiments of this project; settings.yaml names their classes."""
