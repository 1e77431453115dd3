"""`bbgram doctor`: checks settings, Redis, Postgres, sign-in, processes, channels and the archive."""
