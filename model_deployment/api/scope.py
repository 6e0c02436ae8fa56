"""Names under which a request carries what its handlers did not find out themselves."""

#: Who asks, as the guard found out.
USER = "model_deployment.user"
#: What the answer will have as X-Request-Id; the proxy leaves it here.
REQUEST_ID = "model_deployment.request_id"
#: How many things a call was about.
ITEMS = "model_deployment.items"
