"""The one path of every hot request: decide → remember → (cache) → fit → reserve → make room → try the engines in order → reply.

Each step is one call on one part of the `Gateway`; a part that is None is passed by. What a part has to do and to raise
is said by its protocol in gateway.py. Nothing here waits but for these parts and the engines, and nothing is done twice:
this runs for every request, so a step that costs more than some microseconds belongs behind a setting.
"""

import asyncio
import time
from contextlib import AsyncExitStack

from src.serve.gateway.decision import Decision
from src.serve.gateway.gateway import Gateway, unknown
from src.serve.gateway.model import Model
from src.serve.reply import Reply
from src.serve.request import Call, RequestError, UnavailableError


async def ask(gateway: Gateway, call: Call, clock: asyncio.Timeout) -> Reply:
    """Get a call answered.

    Args:
        gateway: The models, and what stands before them.
        call: What is asked; its `visit` reserves tokens.
        clock: Set to the deadline of the model that is decided for.

    Raises:
        RequestError: Where it is not allowed, does not fit, or no engine answers: the last one's reason.
    """
    decision = await gateway.router.decide(call)
    models = [gateway.models[name] for name in decision.to]  # an adapter may be unloaded meanwhile
    first = models[0]
    if first.part.request_timeout:
        clock.reschedule(asyncio.get_running_loop().time() + first.part.request_timeout)
    told = {"x-mlx-route": ""}
    if gateway.memory:
        call, headers = await gateway.memory.remember(call, first)
        told |= headers
    key = gateway.cache.key(call, decision.to[0]) if gateway.cache is not None else None
    if gateway.cache is not None and key and (kept := gateway.cache.find(key, call)):
        kept.headers = {**told, **kept.headers, "x-mlx-route": decision.header(decision.to[0]), "x-mlx-tries": "0"}
        return kept
    if call.visit:
        await call.visit.reserve(call, max(model.longest for model in models), added=len(first.system or ""))
    reply, model, tries = await _first_that_answers(gateway, call, decision, models)
    if gateway.cache is not None and key and model.name == decision.to[0]:
        gateway.cache.keep(key, reply)
    if decision.shadow and gateway.shadows:
        gateway.shadows.send(gateway, decision.shadow, call)
    told |= {"x-mlx-route": decision.header(model.name), "x-mlx-tries": str(tries)}
    reply.headers = {**told, **reply.headers}
    return reply


async def _first_that_answers(gateway: Gateway, call: Call, decision: Decision, models: list[Model]) -> tuple[Reply, Model, int]:
    tries = 0
    failure: RequestError | None = None
    for model in models:
        if model.down and not all(other.down for other in models):
            continue
        try:
            reply = await _held(gateway, model, call)
        except UnavailableError as error:
            tries += error.tries
            failure = error
            continue
        except RequestError as error:
            error.headers |= {"x-mlx-route": decision.header(model.name)}
            raise
        return reply, model, tries + reply.tries
    failure = failure or unknown(call.model, gateway.names)
    failure.headers |= {"x-mlx-route": decision.header(decision.to[-1]), "x-mlx-tries": str(tries)}
    raise failure


async def _held(gateway: Gateway, model: Model, call: Call) -> Reply:
    """Ask one model, which stays loaded until its answer has ended."""
    if gateway.residency is None:
        return await _asked(gateway, model, call)
    async with AsyncExitStack() as holding:
        await holding.enter_async_context(gateway.residency.hold(model.within or model.name))
        reply = await _asked(gateway, model, call)
        reply.closing.append(holding.pop_all().aclose)
    return reply


async def _asked(gateway: Gateway, model: Model, call: Call) -> Reply:
    if call.path not in model.engine.paths:
        raise RequestError(404, f"{model.name} does not answer {call.path}", code="path_not_supported", param="model")
    if model.drained:
        raise UnavailableError(
            503, f"{model.name} is being drained; try again later", kind="server_error", code="drained", headers={"retry-after": "30"}
        )
    call, told = await _fitted(gateway, call, model)
    tally, start = model.tally, time.perf_counter()
    tally.asked += 1
    tally.inside += 1
    try:
        reply = await model.engine.ask(call)
    except BaseException as error:
        tally.inside -= 1
        tally.failed += isinstance(error, UnavailableError)
        raise
    reply.call = call
    if told:
        reply.headers = {**reply.headers, **told}
    tally.answered += 1
    tally.first_byte += time.perf_counter() - start
    reply.closing.append(tally.left)
    return reply


async def _fitted(gateway: Gateway, call: Call, model: Model) -> tuple[Call, dict[str, str]]:
    """The call as the model can take it; what memory put into it goes before the client is refused."""
    ready = _ready(call, model)
    if gateway.budget is None:
        return ready, {}
    try:
        return await gateway.budget.fit(ready, model)
    except UnavailableError:
        if call.bare is None:
            raise
    fitted, told = await gateway.budget.fit(_ready(call.bare, model), model)
    return fitted, {**told, "x-mlx-memory": "0 files", "x-mlx-sources": "[]"}


def _ready(call: Call, model: Model) -> Call:
    call = call.with_system(model.system)
    return call.with_usage() if call.metered and call.stream else call
