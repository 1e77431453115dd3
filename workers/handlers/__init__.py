"""What workers do for each command. A handler answers all requests for its command in a batch at once.

A module has the name of its command, except:

- `block_user.py`: `unblock_user`, `list_blocked`
- `broadcast_presence.py`: `announce`
- `broadcast_typing.py`: `typing`
- `devices.py`: `register_device`, `unregister_device`
- `edit_message.py`: `revise_message`
- `ensure_profile.py`: `introduce`
- `list_reports.py`: `close_report`, `get_report`
- `put_user.py`: `get_user`
- `send_message.py`: `send_system_message`
- `set_chat.py`: `accept_chat`, `decline_chat`
- `unsend_message.py`: `remove_message`
- `user_settings.py`: `update_settings`, `get_settings`
"""
