"""A client's connection from its first byte to its end. Only this package imports the transport libraries."""
