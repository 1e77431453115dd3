"""`bbgram`, the command line: a command for each deployable, and for operators. It may import everything."""
