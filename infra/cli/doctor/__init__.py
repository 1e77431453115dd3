"""`bbgram doctor`: checks everything that the system needs, one line each."""
