"""How much one client may ask for, from where, and in what form."""
