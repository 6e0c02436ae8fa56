"""Who may do what: users with a password and a role, in the gateway's htpasswd files."""
