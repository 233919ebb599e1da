"""The control API: what people and programs may ask of a running daemon, over HTTP.

Whoever can connect may ask (see `control`). A request changes nothing itself: it leaves a wish and
waits for the answer. 200 = done, 202 = taken up, 409 = refused with the reason, 504 = not done in
time, and then withdrawn if nobody had begun.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from concurrent.futures import Future
from typing import Annotated, Any
from uuid import uuid4

from fastapi import FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field

from acclimate import __version__
from acclimate.configs.schema import Config
from acclimate.daemon.doctor import examine
from acclimate.daemon.journal import history, read
from acclimate.daemon.lifecycle import Lifecycle
from acclimate.daemon.status import snapshot
from acclimate.errors import SwapRefused

PATIENCE = 30.0
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
YEAR = 366 * 86400.0
Name = Annotated[str, Path(pattern=NAME, description="an adapter's id")]
Kind = Annotated[
    str | None, Query(pattern=r"^[a-z_]{1,40}$", description="only this kind of event")
]
Since = Annotated[float, Query(ge=0, le=1e11, allow_inf_nan=False, description="Unix time")]
Limit = Annotated[int, Query(ge=1, le=1000, description="the newest so many")]


class Body(BaseModel):
    """Unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True)
    reason: str | None = Field(None, max_length=200, description="for the event log")


class PauseWish(Body):
    """`seconds`: until `resume` if there are none."""

    seconds: float | None = Field(None, gt=0, le=YEAR, allow_inf_nan=False)


class RollbackWish(Body):
    """`to`: an older adapter or base; the last good one if there is none."""

    to: str | None = Field(None, pattern=NAME)


class PinWish(Body):
    """`id`: what is to serve and stay."""

    id: str = Field(pattern=NAME)


class ImportWish(Body):
    """`folder`: below `imports` in the state folder, where `acclimate adapters import` left it."""

    folder: str = Field(pattern=r"^[0-9]{1,20}-[0-9]{1,20}$")


class PurgeWish(Body):
    """`hours`: frames older than that, 0 all and the buffer's key, without it none; `memory`:
    what bundles keep for later gates, too."""

    hours: float | None = Field(None, ge=0, le=1e6, allow_inf_nan=False)
    memory: bool = False


class WordsWish(Body):
    """`vocabulary`: the content of a vocabulary file."""

    vocabulary: dict[str, Any]


class Answer(BaseModel):
    """What was done, in words."""

    message: str


class Trouble(BaseModel):
    """Why it was not done, in words."""

    detail: str


class WordsAnswer(BaseModel):
    """How far a change of words is; `state` is working, done or refused."""

    id: str
    state: str
    message: str


class Change(BaseModel):
    """One change of what is served."""

    model_config = ConfigDict(populate_by_name=True)
    time: float
    actor: str
    from_: str = Field(alias="from")
    to: str
    reason: str


class Adapter(BaseModel):
    """`state`: active, previous, candidate, good, kept or quarantined."""

    id: str
    state: str
    parent: str | None
    created: float | None
    card: dict[str, Any] | None
    quarantined: str | None


class Finding(BaseModel):
    """`state`: ok, warning or problem."""

    check: str
    state: str
    message: str
    remedy: str


REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"model": Trouble, "description": "refused"},
    504: {"model": Trouble, "description": "not done in time"},
}
UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Trouble, "description": "not there"}}
NOT_JSON: dict[int | str, dict[str, Any]] = {400: {"model": Trouble, "description": "no JSON"}}


class Desk:
    """Hands wishes over and waits."""

    def __init__(self, life: Lifecycle, patience: float) -> None:
        self._inbox, self._patience = life.inbox, patience

    async def ask(self, request: Request, do: str, body: Body | None, **details: Any) -> Answer:
        """The daemon's answer; raises HTTPException with its refusal."""
        given = body.model_dump() if body is not None else {}
        wish = {"do": do, **{k: v for k, v in given.items() if v is not None}, **details}
        try:
            answer = self._inbox.ask(wish, request.client.host if request.client else "unknown")
            return Answer(message=await self._wait(answer))
        except SwapRefused as error:
            raise HTTPException(409, str(error)) from error

    async def _wait(self, answer: Future[str]) -> str:
        waited = asyncio.wrap_future(answer)
        done, _ = await asyncio.wait([waited], timeout=self._patience)
        if done:
            return waited.result()
        told = "withdrawn, ask again" if answer.cancel() else "it has begun; see the events"
        raise HTTPException(504, f"the daemon did not do it within {self._patience:g} s: {told}")


def application(life: Lifecycle, config: Config, patience: float = PATIENCE) -> FastAPI:
    """Every route. GET reads, all others leave a wish."""
    state = life.registry.folder
    log, desk = state / "events.jsonl", Desk(life, patience)
    app = FastAPI(
        title="acclimate control", version=__version__, openapi_url="/v1/openapi.json",
        docs_url=None, redoc_url=None, redirect_slashes=False, description=__doc__ or "",
    )  # fmt: skip

    @app.get("/v1/status")
    def status() -> dict[str, Any]:
        """What the daemon is doing."""
        return snapshot(life)

    @app.get("/v1/events")
    def events(since: Since = 0, kind: Kind = None, limit: Limit = 100) -> list[dict[str, Any]]:
        """The newest events, oldest first."""
        return list(deque(read(log, since, kind), limit))

    @app.get("/v1/history")
    def changes(limit: Limit = 100) -> list[Change]:
        """Every change of what is served, oldest first."""
        return [Change.model_validate(row) for row in deque(history(log), limit)]

    @app.get("/v1/doctor")
    def doctor() -> list[Finding]:
        """What is wrong, and what to do."""
        found = examine(state, config, snapshot(life))
        return [Finding(**vars(one)) for one in found]

    @app.get("/v1/adapters")
    def adapters() -> list[Adapter]:
        """Every adapter on disk, in order of age."""
        rows = [(name, life.registry.manifest(name)) for name in life.registry.names()]
        return [_adapter(life, name, made) for name, made in rows if made is not None]

    @app.get("/v1/adapters/{name}", responses=UNKNOWN)
    def adapter(name: Name) -> dict[str, Any]:
        """An adapter's manifest: parent, training, gate report, digests."""
        made = life.registry.manifest(name)
        if made is None:
            raise HTTPException(404, f"there is no adapter {name}")
        return {"state": life.registry.word_for(name), **made}

    app.add_exception_handler(RequestValidationError, _unfit)
    _wishes(app, desk)
    _words(app, desk, life)
    return app


async def _unfit(_: Request, error: Exception) -> Response:
    """What is wrong with a request, without what it was: that may be no text at all."""
    assert isinstance(error, RequestValidationError)
    told = [{key: one[key] for key in ("type", "loc", "msg")} for one in error.errors()]
    return Response(json.dumps({"detail": told}), 422, media_type="application/json")


def _wishes(app: FastAPI, desk: Desk) -> None:
    told = REFUSED | NOT_JSON

    @app.post("/v1/pause", responses=told)
    async def pause(request: Request, body: PauseWish | None = None) -> Answer:
        """No new rounds, a running one is cancelled; what serves goes on."""
        return await desk.ask(request, "pause", body)

    @app.post("/v1/resume", responses=told)
    async def resume(request: Request, body: Body | None = None) -> Answer:
        """Rounds may start again."""
        return await desk.ask(request, "resume", body)

    @app.post("/v1/adapt-now", responses=told)
    async def adapt_now(request: Request, body: Body | None = None) -> Answer:
        """Start a round now."""
        return await desk.ask(request, "adapt", body)

    @app.post("/v1/rollback", responses=told)
    async def rollback(request: Request, body: RollbackWish | None = None) -> Answer:
        """Quarantine what serves and return to an older adapter."""
        return await desk.ask(request, "rollback", body)

    @app.post("/v1/adapters/{name}/quarantine", responses=told)
    async def quarantine(request: Request, name: Name, body: Body | None = None) -> Answer:
        """Never serve an adapter again."""
        return await desk.ask(request, "quarantine", body, id=name)

    @app.post("/v1/adapters/{name}/try", responses=told)
    async def try_out(request: Request, name: Name, body: Body | None = None) -> Answer:
        """Serve an adapter on probation, past the gate."""
        return await desk.ask(request, "try", body, id=name)

    @app.post("/v1/imports", responses=told)
    async def take_in(request: Request, body: ImportWish) -> Answer:
        """Give an adapter that lies ready a name here."""
        return await desk.ask(request, "import", body)

    @app.post("/v1/purge", responses=told)
    async def purge(request: Request, body: PurgeWish) -> Answer:
        """Remove buffered frames from the device."""
        return await desk.ask(request, "purge", body)

    @app.put("/v1/pin", responses=told)
    async def pin(request: Request, body: PinWish) -> Answer:
        """This adapter serves, and no round and no recall replaces it."""
        return await desk.ask(request, "pin", body)

    @app.delete("/v1/pin", responses=REFUSED)
    async def unpin(request: Request) -> Answer:
        """What serves may be replaced again."""
        return await desk.ask(request, "pin", None, id=None)


def _words(app: FastAPI, desk: Desk, life: Lifecycle) -> None:
    @app.post("/v1/vocabulary", status_code=202, responses=REFUSED | NOT_JSON)
    async def words(request: Request, body: WordsWish) -> WordsAnswer:
        """Look for other classes; ask for the answer by its id."""
        asker = uuid4().hex
        await desk.ask(request, "vocabulary", body, id=asker)
        return WordsAnswer(id=asker, **life.rewording.answers[asker])

    @app.get("/v1/vocabulary/{asker}", responses=UNKNOWN)
    def words_answer(asker: Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]) -> WordsAnswer:
        """How far that change is."""
        answer = life.rewording.answers.get(asker)
        if answer is None:
            raise HTTPException(404, "nobody asked that, or long ago")
        return WordsAnswer(id=asker, **answer)


def _adapter(life: Lifecycle, name: str, made: dict[str, Any]) -> Adapter:
    return Adapter(
        id=name, state=life.registry.word_for(name), parent=made.get("parent"),
        created=made.get("created"), card=life.registry.card(name),
        quarantined=life.registry.state.quarantined.get(name),
    )  # fmt: skip
