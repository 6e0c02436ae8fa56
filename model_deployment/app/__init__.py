"""The composition root: builds the controller from its settings, and runs it on an address."""
