"""The channels that notifications go through, one module each, behind one small interface."""
