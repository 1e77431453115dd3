"""How much one client may do, and from where."""
