"""HTTP below the applications: the listening socket, connections, lengths of bodies, types of ASGI.

The controller and the model servers share it.
"""
