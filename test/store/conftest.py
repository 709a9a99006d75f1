import importlib.util

import pytest

from src.store.arango import Arango
from src.store.chroma import Chroma
from src.store.faiss import Faiss
from src.store.numpy import Numpy
from src.store.qdrant import Qdrant

from . import stand_ins

LOCAL = {"numpy": Numpy, "faiss": Faiss, "chroma": Chroma, "qdrant": Qdrant}
NEEDS = {"faiss": "faiss", "chroma": "chromadb", "qdrant": "qdrant_edge", "qdrant server": "qdrant_client", "arango": "arango"}


def installed(kind):
    if kind in NEEDS and importlib.util.find_spec(NEEDS[kind]) is None:
        pytest.skip(f"needs uv sync --extra {kind.split()[0]}")


@pytest.fixture(params=LOCAL)
def local(request):
    """A store of this machine."""
    installed(request.param)
    return LOCAL[request.param]()


@pytest.fixture(params=[*LOCAL, "qdrant server", "arango"])
def store(request, monkeypatch):
    """Every store there is: those of this machine, and the servers as stand-ins."""
    installed(request.param)
    if request.param in LOCAL:
        yield LOCAL[request.param]()
        return
    monkeypatch.setenv("STORE_KEY", "canary-7f3a91")
    answer, make = {
        "qdrant server": (stand_ins.qdrant, lambda url: Qdrant(url=url, api_key_env="STORE_KEY")),
        "arango": (stand_ins.arango, lambda url: Arango(url=url, password_env="STORE_KEY")),
    }[request.param]
    with stand_ins.serving(answer) as server:
        yield make(server.url)
