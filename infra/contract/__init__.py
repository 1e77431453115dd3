"""Writes the contract with clients, which `infra.wire` defines, as files for their developers and tools."""
