"""The playground as a web server of this machine: its addresses, and what it refuses.

It answers to its own name alone (another site that resolves to this machine is refused, as is a request that another
site's page makes), serves three files and the functions of `views`, one at a time, and nothing else.
"""

import asyncio
import base64
import binascii
import inspect
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from experiments.playground import views
from jaxcnn.checking import expect, expect_count
from jaxcnn.data.decoding import CostlyImageError, Decoder, Header
from jaxcnn.training.files import json_text

__all__ = ["HEADERS", "MOST_BYTES", "MOST_PIXELS", "VIEWS", "application", "names", "serving"]

MOST_BYTES = 2**25  # of an image file
MOST_PIXELS = 2**24  # of an image file: what is decoded in a fraction of a second
MOST_FIELDS = 2**14  # bytes of a request beside the image
PAGES = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
VIEWS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "answer": views.answer,
    "layers": views.layers,
    "attribution": views.attribution,
    "attacked": views.attacked,
    "pixel": views.pixel,
}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def application(subject: views.Subject, examples: Mapping[str, Any], title: str, hosts: tuple[str, ...]) -> ASGIApp:
    """Return the playground of a net as an ASGI application.

    Args:
        subject: the net.
        examples: "image" (N, H, W, C), uint8, and "label" (N,), to begin with.
        title: what the net is, for the page.
        hosts: its own names, as browsers say them: "127.0.0.1:8642".
    """
    size = subject.model.spec.shape[1:]
    # Two computations at a time would each take twice as long; none waits for a file that is read.
    computing, reading = asyncio.Lock(), asyncio.Lock()

    async def answered(
        lock: asyncio.Lock, request: Request, fn: Callable[..., dict[str, Any]], *args: Any, **fields: Any
    ) -> Response:
        async with lock:
            if await request.is_disconnected():  # it has asked for something newer
                return Response(status_code=499)
            return _json(await run_in_threadpool(fn, *args, **fields))

    def view(name: str) -> Route:
        fn = VIEWS[name]
        wanted = list(inspect.signature(fn).parameters)[1:]

        async def endpoint(request: Request) -> Response:
            most = 4 * int(np.prod(size)) // 3 + MOST_FIELDS
            fields = _fields(name, await _body(request, "application/json", most), wanted)
            fields["image"] = _pixels(name, fields["image"], size)
            return await answered(computing, request, fn, subject, **fields)

        return Route(f"/{name}", endpoint, methods=["POST"])

    async def example(request: Request) -> Response:
        fields = _fields("example", await _body(request, "application/json", MOST_FIELDS), ["index"])
        index = expect_count("example", "index", fields["index"], 0, len(examples["label"]) - 1)
        name = subject.model.class_names[int(examples["label"][index])]
        return _json({"image": views.encoded(np.asarray(examples["image"][index])), "label": name})

    async def image(request: Request) -> Response:
        data = await _body(request, "application/octet-stream", MOST_BYTES)
        return await answered(reading, request, read, data, size[-1], size[0])

    async def told(request: Request) -> Response:
        more = {"title": title, "examples": len(examples["label"]), "most_bytes": MOST_BYTES}
        return _json(views.about(subject) | more)

    routes = [
        *(Route(address, _file(*page)) for address, page in PAGES.items()),
        *map(view, VIEWS),
        Route("/about", told),
        Route("/example", example, methods=["POST"]),
        Route("/image", image, methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={ValueError: _refused, HTTPException: _refused})
    app.router.redirect_slashes = False
    return _guarded(app, hosts)


def read(data: bytes, channels: int, size: int) -> dict[str, Any]:
    """Return the pixels of an image file as the net takes them: turned, resized, the middle of it.

    Raises:
        ValueError: too many pixels or scans, or no image.
    """
    where, fix = "image", "Choose a PNG, JPEG, GIF, BMP, TIFF or WebP file."
    most, smaller = f"at most {MOST_PIXELS // 2**20} million pixels", "Reduce the image."
    try:
        header = Header.read(io.BytesIO(data))
    except CostlyImageError as error:  # more pixels than are decoded anywhere
        raise ValueError(f"{where}: expected {most}, got {error.got}. {smaller}") from error
    except Exception as error:  # whatever Pillow finds wrong with it
        raise ValueError(f"{where}: expected an image that can be read, got another file. {fix}") from error
    pixels = header.width * header.height
    expect(pixels <= MOST_PIXELS, where, most, f"{header.width} x {header.height}", smaller)
    try:
        return {"image": views.encoded(Decoder(channels, size)(data))}
    except CostlyImageError as error:
        raise ValueError(f"{where}: {error}. Save it anew, or choose another.") from error
    except Exception as error:
        raise ValueError(f"{where}: expected a whole image, got a damaged one. {fix}") from error


def names(port: int) -> tuple[str, ...]:
    """Return the names of this machine at a port, as browsers say them: without a number where it is that of HTTP."""
    own = ("127.0.0.1", "localhost")
    return (*(f"{name}:{port}" for name in own), *(own if port == 80 else ()))


@contextmanager
def serving(make: Callable[[tuple[str, ...]], ASGIApp], port: int) -> Iterator[str]:
    """Serve an application on this machine alone, in a thread, and give its address; 0 takes any port that is free.

    Raises:
        ValueError: the port is taken.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            fix = "Choose another with --port, or any with --port 0."
            raise ValueError(f"playground: expected a free port, got {port} ({error.strerror}). {fix}") from error
        port = listener.getsockname()[1]
        config = uvicorn.Config(
            make(names(port)),
            lifespan="off",
            ws="none",
            http="h11",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.should_exit = True
            thread.join()


def _guarded(app: ASGIApp, hosts: tuple[str, ...]) -> ASGIApp:
    """Return the application that refuses strangers, and says with every answer what a browser may do with it."""
    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    origins = [f"http://{host}" for host in hosts]

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        given = Headers(scope=scope)
        named, asked = given.getlist("host"), given.getlist("origin")
        if len(named) == 1 and named[0] in hosts and all(origin in origins for origin in asked):
            await app(scope, receive, protected)
        else:
            fix = f"Open {origins[0]}."
            refusal = _json({"error": f"playground: expected a request of its own page, got another. {fix}"}, 403)
            await refusal(scope, receive, protected)

    return guard


def _file(name: str, kind: str) -> Callable[[Request], Any]:
    content = files("experiments.playground").joinpath("static", name).read_bytes()

    async def endpoint(request: Request) -> Response:
        return Response(content, media_type=kind)

    return endpoint


async def _body(request: Request, kind: str, most: int) -> bytes:
    """Return the bytes of a request of one kind, which a page of another site cannot send unasked."""
    if request.headers.get("content-type") != kind:
        raise HTTPException(415, f"playground: expected a body of type {kind}, got another. Send one.")
    large = HTTPException(413, f"playground: expected at most {most:,} bytes, got more. Choose a smaller file.")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 15 or int(length) > most:
        raise large
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > most:
            raise large
    return bytes(found)


def _fields(where: str, body: bytes, wanted: list[str]) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: expected JSON, got something else. Send an object.") from error
    ok = isinstance(found, dict) and sorted(found) == sorted(wanted)
    expect(ok, where, f"an object with {wanted}", "another", "Send these fields.")
    return found


def _pixels(where: str, text: Any, size: tuple[int, ...]) -> np.ndarray:
    """Return the image that a text in base64 holds."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        data = b""
    expect(len(data) == np.prod(size), where, f"an image {size} in base64", "another text", "Send its bytes.")
    return np.frombuffer(data, np.uint8).reshape(size)


def _json(value: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json_text(value), status, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return _json({"error": error.detail}, error.status_code)
    return _json({"error": str(error)}, 400)
