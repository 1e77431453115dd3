"""Ways to notify somebody who is away, one module each, behind one small interface."""
