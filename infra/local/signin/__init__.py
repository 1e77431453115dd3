"""A stand-in for Supabase Auth on one machine: same paths, same tokens, so that nothing else differs.

For development only. It listens on loopback, confirms every address by itself and sends no mail.
"""
