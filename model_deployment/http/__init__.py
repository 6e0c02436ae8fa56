"""What controller and model servers share of HTTP: sockets, connections, the framing of bodies."""
