"""The HTTP API of the controller: checks requests, calls the use cases, describes answers in OpenAPI."""
