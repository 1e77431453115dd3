"""Runs the service: `python -m infra.local.signin --port 9999 --data-dir .bbgram`."""

import socket
from contextlib import suppress
from pathlib import Path

import click
import uvicorn

from infra.errors import CommandError
from infra.local.signin.app import create_app
from infra.local.signin.page import page_routes
from infra.local.signin.profiles import profile_maker
from infra.local.signin.service import SigninService
from infra.local.signin.settings import SigninSettings
from infra.settings.base import data_dir as default_data_dir


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; 0.0.0.0 in a container.")
@click.option("--port", default=0, show_default=True, help="Port; 0 takes a free one.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=default_data_dir, help="Data folder.")
@click.option("--chat-url", help="Address of the chat, for its page.")
@click.option("--vapid-key", help="Public key for the page's notifications.")
@click.option("--page", type=click.Path(path_type=Path), help="Folder of the built chat page.")
@click.option("--issuer", help="`iss` of the tokens; follows BBGRAM_SUPABASE_URL, or else the port.")
def main(
    host: str,
    port: int,
    data_dir: Path,
    chat_url: str | None,
    vapid_key: str | None,
    page: Path | None,
    issuer: str | None,
) -> None:
    """Run the dev sign-in service until it is stopped."""
    settings = SigninSettings.load(data_dir)
    with socket.create_server((host, port)) as listener:
        address = f"http://{host}:{listener.getsockname()[1]}"
        issuer = issuer or f"{(settings.supabase_url or address).rstrip('/')}/auth/v1"
        try:
            service = SigninService(data_dir, issuer, profile_maker(settings))
        except CommandError as error:
            raise click.ClickException(str(error)) from None
        click.echo(f"sign-in on {address}/auth/v1")
        routes = page_routes(service, chat_url, vapid_key, page) if chat_url else []
        config = uvicorn.Config(create_app(service, routes), log_level="warning", access_log=False)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
