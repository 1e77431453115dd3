"""The local stack: everything on one machine, with its own engines and sign-in service."""
