"""The playground: what it shows, checked by hand, and what its server refuses."""

import base64
import http.client
import io
import json
import re
import socket
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

import jaxcnn
from experiments import playground
from experiments.playground import server, views
from jaxcnn import functional as F
from jaxcnn.interop.model import Model
from jaxcnn.layers import BatchNorm, Conv, Dense, DepthwiseConv, Flatten, Residual, Sequential, StandardizedConv
from tests.experiments.playground_net import EXAMPLES, LEFT, SIDE, subject

Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.usefixtures("quick_compilation")
OWN = views.encoded(LEFT)


@pytest.fixture(scope="module")
def known():
    return subject()


@pytest.fixture(scope="module")
def address(known):
    with served(known) as address:
        yield address


@contextmanager
def served(known):
    with server.serving(lambda hosts: server.application(known, EXAMPLES, "a net", hosts), 0) as address:
        yield address


def ask(address, path, body=None, method=None, **headers):
    """Send one request, as it stands, and return status, headers and what was said."""
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)) as line:
        kind = {"Content-Type": "application/json"} if isinstance(body, dict) else {}
        body = json.dumps(body) if isinstance(body, dict) else body
        given = kind | {name.replace("_", "-"): value for name, value in headers.items()}
        line.request(method or ("GET" if body is None else "POST"), path, body, given)
        reply = line.getresponse()
        data = reply.read()
        told = json.loads(data) if reply.headers.get_content_type() == "application/json" else data
        return reply.status, reply.headers, told


def upload(address, data):
    began = time.perf_counter()
    status, _, told = ask(address, "/image", data, Content_Type="application/octet-stream")
    return status, told, time.perf_counter() - began


def png(width, height, data=b"") -> bytes:
    def chunk(kind, held):
        return struct.pack(">I", len(held)) + kind + held + struct.pack(">I", zlib.crc32(kind + held))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def decoded(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))


# What is shown


@pytest.mark.parametrize(
    "layer",
    [
        Conv(4),
        Conv(4, (3, 2), stride=2, padding="VALID"),
        Conv(4, 3, stride=(1, 2), padding=((2, 0), (0, 1)), use_bias=False),
        Conv(6, 3, groups=2, dilation=2),
        DepthwiseConv(3, multiplier=2, stride=2),
        StandardizedConv(4, 3, stride=2),
    ],
    ids=repr,
)
def test_the_terms_sum_to_the_value_of_the_map(layer):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(7, 6, 4)).astype(np.float32)
    params, state = layer.init(jax.random.key(1), jax.ShapeDtypeStruct(x.shape, x.dtype))
    params = jax.tree.map(lambda leaf: jnp.asarray(generator.normal(size=leaf.shape), jnp.float32), params)
    y = np.asarray(layer.apply(params, state, jnp.asarray(x), train=False)[0])
    height, width, features = y.shape
    for row, column in ((0, 0), (height - 1, width - 1), (1, 1), (0, width - 1)):
        for channel in (0, features - 1):
            found = views.terms(layer, params, x, channel, row, column)
            assert found["sum"] == pytest.approx(float(y[row, column, channel]), abs=1e-4)
            assert found["sum"] == pytest.approx(np.sum(found["products"]) + found["bias"], abs=1e-9)
            known = np.array(found["patch"], np.float64)  # None, outside of x, is NaN
            np.testing.assert_allclose(np.nan_to_num(known) * found["kernel"], found["products"], atol=1e-12)
            for c, u, v in np.argwhere(~np.isnan(known)):
                assert known[c, u, v] == x[found["rows"][u], found["columns"][v], found["channels"][c]]
            outside = [n for n in found["rows"] if not 0 <= n < 7] or [n for n in found["columns"] if not 0 <= n < 6]
            assert bool(outside) == bool(np.isnan(known).any())


@pytest.mark.slow
def test_a_pixel_at_any_depth_is_what_the_layer_gives():
    branch = Sequential(conv1=Conv(3, use_bias=False), norm=BatchNorm(), act=F.relu, conv2=Conv(1))
    net = Sequential(block=Residual(branch), act=F.relu, flatten=Flatten(), head=Dense(2))
    spec = jax.ShapeDtypeStruct((1, SIDE, SIDE, 1), jnp.float32)
    params, state = net.init(jax.random.key(3), spec)
    deep = views.subject(Model(net, params, state, spec, ("a", "b")))
    x = jnp.asarray(LEFT[None] / 255, jnp.float32)
    _, inside = jaxcnn.surgery.activations(net, params, state, x, ["block/branch/conv2", "act"])
    found = views.pixel(deep, LEFT, "block/branch/conv2", 0, 2, 3)
    assert found["sum"] == pytest.approx(found["value"], abs=1e-5)
    assert found["value"] == pytest.approx(float(inside["block/branch/conv2"][0, 2, 3, 0]), abs=1e-5)
    assert len(found["channels"]) == 3
    other = views.pixel(deep, LEFT, "act", 0, 2, 3)
    assert set(other) == {"value"}
    assert other["value"] == pytest.approx(float(inside["act"][0, 2, 3, 0]), abs=1e-5)


def test_what_the_page_is_told_of_the_net(known):
    told = views.about(known)
    assert [layer["path"] for layer in told["layers"]] == ["conv", "act", "pick", "flatten", "head"]
    assert [layer["convolution"] for layer in told["layers"]] == [True, False, True, False, False]
    assert told["layers"][0]["shape"] == [SIDE, SIDE, 3]
    assert told["classes"] == ["left", "right"]
    pictures = views.layers(known, LEFT)["layers"]
    sizes = [decoded(one["picture"]).shape[:2] for one in pictures]
    assert sizes == [(3 * SIDE, SIDE), (3 * SIDE, SIDE), (SIDE, SIDE), (1, SIDE * SIDE), (1, 2)]
    assert pictures[2]["largest"] == pytest.approx(1.0)


def test_only_as_many_maps_are_shown_as_can_be_sent():
    assert views.shown_maps((8, 8, 32)) == 32
    assert views.shown_maps((32, 32, 512)) == 64
    assert views.shown_maps((112, 112, 64)) == 5
    assert views.shown_maps((1000, 1000, 3)) == views.shown_maps((10,)) == 1


def test_answers_and_attributions(known):
    shares = views.answer(known, LEFT)["shares"]
    np.testing.assert_allclose(shares, jax.nn.softmax(jnp.array([12.0, 0.0])), rtol=1e-4)
    likeliest = views.attribution(known, LEFT, "gradient", None)
    assert likeliest["target"] == 0
    assert likeliest == views.attribution(known, LEFT, "gradient", 0)
    other = decoded(views.attribution(known, LEFT, "gradient", 1)["picture"]).astype(int)
    own = decoded(likeliest["picture"]).astype(int)
    assert own.shape == (SIDE, SIDE, 3)
    assert (own[2, 1] != other[2, 1]).any()


@pytest.mark.slow
def test_the_attack_stays_within_epsilon_and_breaks_the_answer_where_it_can(known):
    still = views.attacked(known, LEFT, 0)
    np.testing.assert_array_equal(decoded(still["picture"]), LEFT[..., 0])
    np.testing.assert_allclose(still["shares"], views.answer(known, LEFT)["shares"], rtol=1e-5)
    broken = views.attacked(known, LEFT, 0.5)
    assert broken["given"] == 0
    assert np.argmax(broken["shares"]) == 1
    assert np.abs(decoded(broken["picture"]).astype(int) - LEFT[..., 0]).max() <= 128


def test_a_net_that_is_not_finite_is_shown(known):
    model = known.model
    params = jax.tree.map(lambda leaf: leaf * jnp.nan, model.params)
    lost = views.subject(Model(model.net, params, model.state, model.spec, model.class_names))
    assert np.isnan(views.answer(lost, LEFT)["shares"]).all()
    assert all(one["largest"] == 0 for one in views.layers(lost, LEFT)["layers"])
    with served(lost) as address:
        assert ask(address, "/answer", {"image": OWN})[2] == {"shares": [None, None]}


def test_a_model_of_other_images_is_refused():
    net, spec = Sequential(flatten=Flatten(), head=Dense(2)), jax.ShapeDtypeStruct((1, 4, 5, 1), jnp.float32)
    with pytest.raises(
        ValueError, match=r"^playground: expected a model of square images, got \(1, 4, 5, 1\)\. Images"
    ):
        views.subject(Model(net, *net.init(jax.random.key(0), spec), spec, ("a", "b")))


# The server


def test_every_answer_forbids_what_a_browser_could_do_with_it(address):
    replies = {
        200: ask(address, "/"),
        400: ask(address, "/answer", {}),
        403: ask(address, "/", Host="example.org"),
        404: ask(address, "/none"),
        405: ask(address, "/answer"),
        415: ask(address, "/answer", "{}"),
    }
    for status, (found, headers, _) in replies.items():
        assert found == status
        for name, value in server.HEADERS.items():
            assert headers.get_all(name) == [value]
    policy = server.HEADERS["content-security-policy"]
    assert policy.startswith(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src"
    )
    assert "unsafe" not in policy


def test_the_page_has_no_script_and_no_style_of_its_own(address):
    page = ask(address, "/")[2].decode()
    assert page.count("<script") == page.count('<script src="/page.js" defer></script>') == 1
    assert not any(word in page for word in ("<style", "style=", "onclick", "onload", "http:", "https:"))
    script = ask(address, "/page.js")[2].decode()
    assert not any(word in script for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("))


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1", "localhost:1", "127.0.0.1.evil.invalid:80", "", "[::1]"])
def test_other_hosts_are_refused(address, host):
    for path, body in (("/", None), ("/answer", {"image": OWN})):
        status, _, told = ask(address, path, body, Host=host)
        assert (status, told["error"][:34]) == (403, "playground: expected a request of ")


@pytest.mark.parametrize("origin", ["http://example.org", "null", "https://127.0.0.1", "http://127.0.0.1:1", ""])
def test_other_origins_are_refused(address, origin):
    assert ask(address, "/answer", {"image": OWN}, Origin=origin)[0] == 403


def test_its_own_names_are_not(address):
    host = urlsplit(address).netloc
    for own in (host, host.replace("127.0.0.1", "localhost")):
        assert ask(address, "/answer", {"image": OWN}, Host=own, Origin=f"http://{own}")[0] == 200


def test_at_the_port_of_http_browsers_leave_it_out(known):
    assert server.names(8642) == ("127.0.0.1:8642", "localhost:8642")
    assert server.names(80) == ("127.0.0.1:80", "localhost:80", "127.0.0.1", "localhost")
    with server.serving(lambda _: server.application(known, EXAMPLES, "a net", server.names(80)), 0) as address:
        for own in server.names(80):
            assert ask(address, "/answer", {"image": OWN}, Host=own, Origin=f"http://{own}")[0] == 200
        assert ask(address, "/", Host="127.0.0.1:81")[0] == 403


def test_two_hosts_and_none_are_refused(address):
    host = urlsplit(address)
    for lines in (f"Host: {host.netloc}\r\nHost: example.org\r\n", ""):
        with socket.create_connection((host.hostname, host.port), timeout=20) as line:
            line.sendall(f"GET / HTTP/1.0\r\n{lines}\r\n".encode())
            assert line.recv(100).split()[1] in (b"400", b"403")


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py", "/static/page.html", "/%2e%2e/server.py", "/..%2fserver.py", "/%252e%252e%252fserver.py",
        "/page.js/../../server.py", "//etc/passwd", "/page.js%00", "/%70age%252ejs", "/....//server.py", "/page.html",
        "/..\\server.py", "/%c0%ae%c0%ae/server.py", "/page.js/", "/file:///etc/passwd", "/__init__.py",
    ],
)  # fmt: skip
def test_nothing_else_is_served(address, path):
    assert ask(address, path)[0] == 404


def test_an_image_comes_back_as_the_net_takes_it(address):
    file = io.BytesIO()
    Image.fromarray(LEFT[..., 0]).resize((80, 80), Image.Resampling.NEAREST).convert("RGB").save(file, "png")
    status, told, _ = upload(address, file.getvalue())
    assert status == 200
    found = np.frombuffer(base64.b64decode(told["image"]), np.uint8).reshape(LEFT.shape)
    assert np.abs(found.astype(int) - LEFT).max() < 64
    assert ask(address, "/answer", {"image": told["image"]})[2]["shares"][0] > 0.99


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "image: expected an image that can be read, got another file. Choose a PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image: expected an image that can be read, got another file."),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "image: expected an image that can be read, got another",
        ),
        (png(5000, 5000, zlib.compress(bytes(10**6))), "image: expected at most 16 million pixels, got 5000 x 5000."),
        (png(12000, 12000), "image: expected at most 16 million pixels, got "),  # of which Pillow warns
        (png(60000, 60000), "image: expected at most 16 million pixels, got more. Reduce the image."),
        (png(64, 64, zlib.compress(bytes(100))[:20]), "image: expected a whole image, got a damaged one."),
    ],
    ids=["nothing", "svg", "eps", "many pixels", "more pixels", "bomb", "damaged"],
)
def test_uploads_are_refused_soon_with_a_message(address, data, message):
    status, told, took = upload(address, data)
    assert status == 400
    assert told["error"].startswith(message)
    assert took < 10


def test_a_photograph_of_many_scans_is_refused_before_they_are_decoded(address):
    file = io.BytesIO()
    Image.new("L", (4096, 4096), 90).save(file, "jpeg", progressive=True)
    data, last = file.getvalue(), file.getvalue().rindex(b"\xff\xda")
    status, told, took = upload(address, data[:-2] + data[last:-2] * 2000 + data[-2:])
    message = rf"image: expected a JPEG of at most 100 scans, got {2000 + data.count(bytes([255, 218]))}\. Save it .*\."
    assert status == 400
    assert re.fullmatch(message, told["error"])
    assert took < 10


def test_a_file_that_is_read_slowly_keeps_no_view_waiting(address, monkeypatch):
    begun, answered = threading.Event(), threading.Event()

    def slow(*args):
        begun.set()
        return {"in time": answered.wait(20)}

    monkeypatch.setattr(server, "read", slow)
    with ThreadPoolExecutor() as other:
        told = other.submit(upload, address, b"a file")
        assert begun.wait(20)
        assert ask(address, "/answer", {"image": OWN})[0] == 200
        answered.set()
        assert told.result()[1] == {"in time": True}


def test_a_truncated_photograph_is_refused(address):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(file, "jpeg")
    status, told, took = upload(address, file.getvalue()[:700])
    assert (status, told["error"][:30]) == (400, "image: expected a whole image,")
    assert took < 10


def test_an_upload_of_too_many_bytes_is_refused_before_it_is_sent(address):
    host = urlsplit(address)
    began = time.perf_counter()
    with socket.create_connection((host.hostname, host.port), timeout=20) as line:
        kind = "Content-Type: application/octet-stream"
        line.sendall(
            f"POST /image HTTP/1.1\r\nHost: {host.netloc}\r\n{kind}\r\nContent-Length: {2**40}\r\n\r\n".encode()
        )
        assert line.recv(100).split()[1] == b"413"
    assert time.perf_counter() - began < 10


def test_an_upload_that_does_not_say_its_length_is_counted(address, monkeypatch):
    monkeypatch.setattr(server, "MOST_BYTES", 1000)
    status, told, _ = upload(address, iter([b"x" * 600] * 3))
    assert (status, told["error"]) == (
        413,
        "playground: expected at most 1,000 bytes, got more. Choose a smaller file.",
    )


def test_a_form_of_another_site_is_no_request(address):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert ask(address, "/image", b"x", Content_Type=kind)[0] == 415
        assert ask(address, "/answer", json.dumps({"image": OWN}), Content_Type=kind)[0] == 415


PIXEL = {"image": OWN, "layer": "conv", "channel": 0, "row": 0, "column": 0}


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("/answer", {}, r"answer: expected an object with ['image'], got another. Send"),
        ("/answer", {"image": OWN, "more": 1}, "answer: expected an object with ['image'], got another. Send"),
        ("/answer", {"image": OWN[4:]}, "answer: expected an image (8, 8, 1) in base64, got another text. Send"),
        ("/answer", {"image": 7}, "answer: expected an image (8, 8, 1) in base64, got another text. Send"),
        ("/answer", {"image": "\u202e" * 88}, "answer: expected an image (8, 8, 1) in base64, got another text. Send"),
        ("/attribution", {"image": OWN, "method": "none", "target": None}, "attribution: expected method as one of ["),
        ("/attribution", {"image": OWN, "method": [], "target": None}, "attribution: expected method as one of ["),
        (
            "/attribution",
            {"image": OWN, "method": "gradient", "target": 2},
            "attribution: expected target of at most 1",
        ),
        ("/attacked", {"image": OWN, "epsilon": 0.6}, "attacked: expected epsilon from 0 to 0.5, got 0.6. Full"),
        ("/attacked", {"image": OWN, "epsilon": float("nan")}, "attacked: expected epsilon from 0 to 0.5, got nan."),
        ("/attacked", {"image": OWN, "epsilon": "0.1"}, "attacked: expected epsilon from 0 to 0.5, got '0.1'."),
        ("/pixel", PIXEL | {"layer": "../conv"}, "pixel: expected layer as one of ['conv', 'act', 'pick'], got"),
        ("/pixel", PIXEL | {"layer": "head"}, "pixel: expected layer as one of ['conv', 'act', 'pick'], got"),
        ("/pixel", PIXEL | {"row": 8}, "pixel: expected row of at most 7, got 8."),
        ("/pixel", PIXEL | {"column": -1}, "pixel: expected column as an int >= 0, got -1."),
        ("/pixel", PIXEL | {"channel": 1e9}, "pixel: expected channel as an int >= 0, got"),
        ("/example", {"index": 2}, "example: expected index of at most 1, got 2."),
    ],
)
def test_requests_that_do_not_fit_are_told_why(address, path, fields, message):
    status, _, told = ask(address, path, fields)
    assert (status, told["error"][: len(message)]) == (400, message)


@pytest.mark.parametrize("body", ["", "nonsense", "[" * 5000, "[]", "7", '{"image": ' + "9" * 5000 + "}", b"\xff\xfe"])
def test_what_is_no_object_is_told_so(address, body):
    status, _, told = ask(address, "/answer", body, Content_Type="application/json")
    assert (status, told["error"][:17]) == (400, "answer: expected ")


def test_requests_that_were_given_up_are_not_computed(known, monkeypatch):
    calls, begun, given_up = [], threading.Event(), threading.Event()

    def slow(subject, image):
        calls.append(int(image[0, 0, 0]))
        begun.set()
        return {"in time": given_up.wait(20)}

    def asked(number):
        image = LEFT.copy()
        image[0, 0, 0] = number
        line = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
        line.request(
            "POST", "/answer", json.dumps({"image": views.encoded(image)}), {"Content-Type": "application/json"}
        )
        return line

    monkeypatch.setattr(server, "VIEWS", {"answer": slow})
    with served(known) as address, closing(asked(0)) as first:
        assert begun.wait(20)
        for number in range(1, 5):
            with closing(asked(number)) as line:
                line.sock.shutdown(socket.SHUT_WR)
                assert line.sock.recv(1) == b""  # the server has closed it too
        with closing(asked(5)) as last:
            given_up.set()
            for line in (first, last):
                assert json.loads(line.getresponse().read()) == {"in time": True}
    assert calls == [0, 5]


def test_a_port_that_is_taken_is_said():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(ValueError, match=rf"^playground: expected a free port, got {port} \(.*\)\. Choose another"),
            server.serving(lambda hosts: None, port),
        ):
            pass


def test_it_answers_to_this_machine_alone(address, monkeypatch):
    bound = []
    bind = socket.socket.bind
    monkeypatch.setattr(socket.socket, "bind", lambda self, place: bound.append(place) or bind(self, place))
    with server.serving(lambda hosts: None, 0):
        assert bound == [("127.0.0.1", 0)]


# The command


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    model = subject(names=tuple("0123456789")).model
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    jaxcnn.save(path, model.net, model.params, model.state, spec=model.spec, class_names=model.class_names)
    return str(path)


def test_quick_asks_itself_and_ends(source):
    result = playground.main(playground.Config(source=source, quick=True, port=0))
    assert result.holds
    json.dumps(result.figures)
    assert set(result.figures["checks"].values()) == {True}
    assert {"answer", "layers", "attacked", "pixel", "gradient"} <= set(result.figures["milliseconds"])
    assert result.verdict.startswith("net: the slowest view, ")


def test_it_ends_when_its_time_is_over(source, monkeypatch, capsys):
    monkeypatch.setattr(playground, "warmed", lambda *_: {"answer": 1.0})
    began = time.perf_counter()
    result = playground.main(playground.Config(source=source, seconds=0.2, port=0))
    assert 0.2 < time.perf_counter() - began < 20
    assert result.figures["checks"] == {}
    assert "http://127.0.0.1:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 65536}, "expected port of at most 65535"),
        ({"seconds": -1.0}, "expected seconds of at least 0, got -1.0"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^playground: {message}"):
        playground.main(playground.Config(**options))
