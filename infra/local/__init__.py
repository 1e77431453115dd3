"""The embedded stack for one machine: engines, dev sign-in, supervisor and command line."""
