"""A team's own backend for the chat: it signs users up, welcomes them, moderates, and erases them.

Start it with `uvicorn backend:app`, behind TLS, with the variables below. `CHAT_KEY` is a key with the scopes
`users`, `messages` and `moderate`. Name the address of `/chat-events` in `BBGRAM_WEBHOOKS_URLS`.
"""

import os
import time
from functools import cache
from typing import Annotated, Any
from uuid import UUID

import httpx
import jwt
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from standardwebhooks import Webhook, WebhookVerificationError

TEAM = UUID(os.environ["CHAT_TEAM_ID"])
"""In a Supabase project, one of its users."""
BANNED = ("spam.example", "casino")
"""Reported messages with these words are removed at once. People look at the others."""
GONE = ("report_not_found", "chat_not_found", "message_not_found")

chat = httpx.Client(
    base_url=os.environ["CHAT_URL"], headers={"Authorization": f"Bearer {os.environ['CHAT_KEY']}"}, timeout=15
)
webhook = Webhook(os.environ["CHAT_WEBHOOK_SECRET"])
ISSUER = f"{os.environ['SUPABASE_URL']}/auth/v1"
sign_in_keys = jwt.PyJWKClient(f"{ISSUER}/.well-known/jwks.json")
app = FastAPI()


class ChatError(Exception):
    """The chat has refused a call, or could not be reached."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status}: {problem}")
        self.status = status
        self.problem = problem
        """What the chat says of it; nothing if somebody else has answered."""


def ask(method: str, path: str, *, may_be_gone: bool = False, **options: Any) -> Any:
    """Make a call, up to three times: each of those below is safe to repeat. Raises ChatError."""
    for pause_s in (0.5, 2, None):
        try:
            answer = chat.request(method, path, **options)
        except httpx.TransportError as error:
            failure = ChatError(503, {"detail": repr(error)})
        else:
            if answer.is_success:
                return answer.json()
            is_problem = "problem+json" in answer.headers.get("content-type", "")
            failure = ChatError(answer.status_code, answer.json() if is_problem else {})
            if may_be_gone and failure.problem.get("code") in GONE:
                return None
        if pause_s is None or not failure.problem.get("retryable", True):
            break
        time.sleep(pause_s)
    raise failure


@app.exception_handler(ChatError)
def to_answer(_: Request, error: ChatError) -> JSONResponse:
    """Tell our own app what the chat has said; another status than 2xx lets a webhook come again."""
    return JSONResponse(error.problem, error.status)


Bearer = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


def signed_in(bearer: Bearer) -> UUID:
    """Return who makes a request, from the access token that the chat gets, too."""
    token = bearer.credentials
    try:
        key = sign_in_keys.get_signing_key_from_jwt(token)
        claims = jwt.decode(token, key, ["ES256", "RS256"], audience="authenticated", issuer=ISSUER)
        return UUID(claims["sub"])
    except (jwt.PyJWTError, KeyError, ValueError) as error:
        raise HTTPException(401, "sign in again") from error


Me = Annotated[UUID, Depends(signed_in)]


class SignUp(BaseModel):
    """What somebody chooses who signs up."""

    username: str


@app.post("/sign-up")
def sign_up(me: Me, chosen: SignUp) -> dict[str, str]:
    """Give a new user a profile and a welcome. If the name is taken, the app asks for another one."""
    user = ask("PUT", f"/v1/users/{me}", json={"username": chosen.username})["user"]
    welcome = {"from": team(), "to": str(me), "text": f"Welcome, {user['username']}!"}
    # However often this is repeated, there is one welcome.
    ask("POST", "/v1/messages", json=welcome, headers={"Idempotency-Key": f"welcome-{me}"})
    return {"userId": user["userId"], "username": user["username"]}


@cache
def team() -> str:
    """Return the id of the user who welcomes the others, once they have a profile."""
    made: str = ask("PUT", f"/v1/users/{TEAM}", json={"username": "team"})["user"]["userId"]
    return made


@app.delete("/account", status_code=202)
def leave(me: Me) -> dict[str, Any]:
    """Erase the user who asks for it. Delete their account where they sign in, too."""
    erasure: dict[str, Any] = ask("DELETE", f"/v1/users/{me}", params={"mode": "delete"})["erasure"]
    return erasure


async def body_of(request: Request) -> bytes:
    """Return the body as it came: that is what is signed."""
    return await request.body()


@app.post("/chat-events", status_code=204)
def hear(request: Request, body: Annotated[bytes, Depends(body_of)]) -> None:
    """Take events of the chat. They may come again, so whatever is done with them must be safe to repeat."""
    try:
        events = webhook.verify(body, dict(request.headers))["events"]
    except (WebhookVerificationError, ValueError) as error:
        raise HTTPException(401, "the signature is wrong") from error
    for event in events:
        if event["type"] == "report.created":
            moderate(event["data"]["reportId"])


def moderate(report_id: str) -> None:
    """Remove a reported message and close the report, if the case is clear."""
    found = ask("GET", f"/v1/reports/{report_id}", may_be_gone=True)
    if found and any(word in found["report"]["messages"][-1]["text"] for word in BANNED):
        report = found["report"]
        ask("DELETE", f"/v1/chats/{report['chatId']}/messages/{report['seq']}", may_be_gone=True)
        ask("POST", f"/v1/reports/{report_id}/close", may_be_gone=True)
