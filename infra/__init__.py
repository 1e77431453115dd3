"""The ground floor: the wire contract, the store, settings and the local stack."""
