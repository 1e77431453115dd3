"""The server API: what the app's own backend asks of the chat, over HTTP."""
