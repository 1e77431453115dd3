"""What workers do for each command. A handler answers all requests for its command in a batch at once.

A module has the name of its command, except:

- `broadcast_presence.py`: `announce`
- `broadcast_typing.py`: `typing`
- `devices.py`: `register_device`, `unregister_device`
- `ensure_profile.py`: `introduce`
"""
