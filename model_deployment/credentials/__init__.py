"""Users with passwords and roles, in the htpasswd files that the gateway reads too."""
