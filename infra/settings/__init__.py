"""Settings, a module for each deployable. An entry point loads its class once.

Import from the module that defines a name, so that an edge does not load what functions need.
"""
