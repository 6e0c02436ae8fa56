"""The web pages: what is deployed, how each deployment does, and buttons to act on it."""
