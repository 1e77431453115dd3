"""The contract between clients, edges and workers: what travels, and under which names.

A leaf package: it imports nothing else of the project, and everything else may import it.
"""
