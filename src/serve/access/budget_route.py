"""The route that tells a caller what is left of its limits."""

from typing import Any

from fastapi import APIRouter, Request

from src.serve.access.limits import COUNTED, Limits
from src.serve.access.visit import Visit

BUDGET = "/v1/budget"


def budget_route(limits: Limits) -> APIRouter:
    """The route; whoever is let in may ask for their own budget, whatever else their role may."""
    router = APIRouter()

    @router.get(BUDGET)
    async def budget(request: Request) -> Any:
        visit: Visit = request.scope["visit"]
        used = await limits.standing(visit.caller)
        told = {name: {"limit": getattr(visit.caller.role, name), "used": used.get(name)} for name in COUNTED}
        return {"object": "budget", "role": visit.caller.role_name, "limits": told}

    return router
