"use strict";
// The page of the playground. What it shows is in its link; text gets into it by textContent alone.

const $ = (id) => document.getElementById(id);
const NAMES = { target: null, method: null, epsilon: 0.1, layer: null, channel: 0, row: 0, column: 0 };
const MOST_BARS = 10;
const PAUSE = 50; // ms in which changes are gathered into one request
let about; // the net: its classes, layers, methods
let state; // what is shown: the names above, and image, the bytes of the pixels
let rows; // of the layers, by path: their elements

const make = (tag, name = "", text = "") => {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
};
const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)} %`);
const shown = (value, digits = 3) => (value === null ? "not finite" : value.toFixed(digits).replace(/^-(?=.*[1-9])/, "−").replace("-", ""));
const scale = ({ largest, signed }) => `${signed ? "±" : "0 to "}${largest.toPrecision(2)}`;
const clamp = (value, most) => Math.min(Math.max(value, 0), most);
const say = (text) => ($("message").textContent = text);

// Asking: the newest request of each name wins.

const going = {};

async function send(path, kind, body, signal) {
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": kind }, body, signal });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

async function ask(name, fields, then) {
  going[name]?.abort();
  const mine = (going[name] = new AbortController());
  $(name).setAttribute("aria-busy", "true");
  try {
    const body = JSON.stringify({ image: encoded(state.image), ...fields });
    then(await send(`/${name}`, "application/json", body, mine.signal));
  } catch (error) {
    if (error.name === "AbortError") return;
    say(error.message);
  }
  $(name).setAttribute("aria-busy", "false");
}

const VIEWS = {
  answer: () => ask("answer", {}, showAnswer),
  attribution: () => ask("attribution", { method: state.method, target: state.target }, showAttribution),
  attacked: () => ask("attacked", { epsilon: state.epsilon }, showAttacked),
  pixel: () => {
    const { layer, channel, row, column } = state;
    if (layer) ask("pixel", { layer, channel, row, column }, showPixel);
  },
  layers: () => ask("layers", {}, showLayers),
};
const due = new Set();
let saving;

function changed(...names) {
  say("");
  if (!due.size) setTimeout(flush, PAUSE);
  names.forEach((name) => due.add(name));
}

function flush() {
  for (const name of Object.keys(VIEWS)) if (due.has(name)) VIEWS[name]();
  due.clear();
  clearTimeout(saving);
  saving = setTimeout(save, 4 * PAUSE);
}

// The link.

const encoded = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const decoded = (text) => Uint8ClampedArray.from(atob(text), (letter) => letter.charCodeAt(0));

function save() {
  const fields = new URLSearchParams({ image: encoded(state.image) });
  for (const name of Object.keys(NAMES)) if (state[name] !== null) fields.set(name, state[name]);
  history.replaceState(null, "", `#${fields}`);
}

// Returns what the link says, with what is usual in the place of what it does not.
function read() {
  const fields = new URLSearchParams(location.hash.slice(1));
  const number = (name, most) => clamp(Number(fields.get(name) ?? NaN) || 0, most);
  const size = about.size.reduce((a, b) => a * b);
  const maps = about.layers.filter((layer) => layer.shape.length === 3);
  const found = { ...NAMES, image: new Uint8ClampedArray(size) };
  try {
    const image = decoded(fields.get("image") ?? "");
    if (image.length === size) found.image = image;
  } catch {
    say("link: expected an image in base64, got another text. Draw one.");
  }
  const layer = maps.find((one) => one.path === fields.get("layer")) ?? maps.find((one) => one.convolution) ?? maps[0];
  if (layer) {
    found.layer = layer.path;
    const [height, width, count] = layer.shape;
    const place = fields.has("layer");
    found.channel = Math.trunc(number("channel", Math.min(layer.maps, count) - 1));
    found.row = place ? Math.trunc(number("row", height - 1)) : height >> 1;
    found.column = place ? Math.trunc(number("column", width - 1)) : width >> 1;
  }
  if (fields.has("target")) found.target = Math.trunc(number("target", about.classes.length - 1));
  if (fields.has("epsilon")) found.epsilon = number("epsilon", about.most_epsilon);
  found.method = about.methods.includes(fields.get("method")) ? fields.get("method") : about.methods[0];
  return found;
}

function restore() {
  changed(...Object.keys(VIEWS));
  state = read();
  $("method").value = state.method;
  $("epsilon").value = state.epsilon;
  draw();
  place();
}

// Pixels under a pointer, or under a mark that arrows move.

function under(event, element, width, height) {
  const box = element.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
}

function put(mark, column, row, width, height, across = 1, down = 1) {
  Object.assign(mark.style, {
    left: `${(100 * column) / width}%`,
    top: `${(100 * row) / height}%`,
    width: `${(100 * across) / width}%`,
    height: `${(100 * down) / height}%`,
  });
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// The paper.

const cursor = [0, 0];

function draw(marked = false) {
  const [height, width, channels] = about.size;
  const canvas = $("paper").firstElementChild;
  const pixels = new ImageData(width, height);
  for (let at = 0; at < width * height; at++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * at + c] = state.image[channels * at + (channels === 3 ? c : 0)];
    pixels.data[4 * at + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  put($("paper").lastElementChild, cursor[0], cursor[1], width, height);
  if (!marked) return;
  changed(...Object.keys(VIEWS));
}

function ink(erase) {
  if (erase || $("erase").getAttribute("aria-pressed") === "true") return [0, 0, 0];
  if (about.size[2] === 1) return [255];
  return [1, 3, 5].map((at) => parseInt($("colour").value.slice(at, at + 2), 16));
}

// Returns a function that draws from one point to the next: a round brush, of which each pixel has its share.
function stroke(colour) {
  const [height, width, channels] = about.size;
  const before = state.image.slice();
  const covered = new Float32Array(width * height);
  const radius = 0.45 + width / 26;
  return ([x0, y0], [x1, y1]) => {
    const length = (x1 - x0) ** 2 + (y1 - y0) ** 2;
    for (let at = 0; at < width * height; at++) {
      const [x, y] = [(at % width) + 0.5, Math.floor(at / width) + 0.5];
      const along = length && clamp(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 1);
      const away = Math.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0));
      covered[at] = Math.max(covered[at], clamp(radius + 0.5 - away, 1));
      for (let c = 0; c < channels; c++) {
        const old = before[channels * at + c];
        state.image[channels * at + c] = old + (colour[c] - old) * covered[at];
      }
    }
    draw(true);
  };
}

function listenToPaper() {
  const paper = $("paper");
  const [height, width] = about.size;
  let line, last;
  paper.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    paper.setPointerCapture(event.pointerId);
    line = stroke(ink(false));
    last = under(event, paper, width, height);
    line(last, last);
  });
  paper.addEventListener("pointermove", (event) => {
    if (!line) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) {
      const next = under(one, paper, width, height);
      line(last, next);
      last = next;
    }
  });
  for (const name of ["pointerup", "pointercancel"]) paper.addEventListener(name, () => (line = null));
  paper.addEventListener("keydown", (event) => {
    if (event.key in ARROWS) {
      const [dx, dy] = ARROWS[event.key];
      cursor[0] = clamp(cursor[0] + dx, width - 1);
      cursor[1] = clamp(cursor[1] + dy, height - 1);
      draw();
    } else if ([" ", "Enter", "Delete", "Backspace"].includes(event.key)) {
      const middle = [cursor[0] + 0.5, cursor[1] + 0.5];
      stroke(ink(event.key.length > 1 && event.key !== "Enter"))(middle, middle);
    } else return;
    event.preventDefault();
  });
}

function show(image) {
  state.image = image;
  draw(true);
}

async function example(index) {
  try {
    const found = await send("/example", "application/json", JSON.stringify({ index }));
    $("note").textContent = `Example ${index}, a ${found.label}. Or drop an image anywhere.`;
    show(decoded(found.image));
  } catch (error) {
    say(error.message);
  }
}

async function open(file) {
  if (!file) return;
  if (file.size > about.most_bytes) {
    return say(`image: expected at most ${about.most_bytes >> 20} MB, got ${Math.ceil(file.size / 2 ** 20)}. Reduce the image.`);
  }
  try {
    show(decoded((await send("/image", "application/octet-stream", file)).image));
  } catch (error) {
    say(error.message);
  }
}

// Classes.

function bars(shares) {
  const best = [...shares.keys()].sort((a, b) => shares[b] - shares[a]);
  const all = shares.length <= MOST_BARS;
  const places = all ? [...shares.keys()] : best.slice(0, MOST_BARS);
  $("bars").classList.toggle("short", about.classes.every((name) => name.length < 4));
  while ($("bars").children.length < places.length) {
    const bar = make("button", "bar");
    bar.type = "button";
    bar.append(make("bdi"), make("span", "rule"), make("span"));
    bar.children[1].append(make("i"));
    bar.addEventListener("click", () => {
      const at = Number(bar.dataset.at);
      state.target = state.target === at ? null : at;
      press();
      changed("attribution");
    });
    $("bars").append(bar);
  }
  places.forEach((at, place) => {
    const bar = $("bars").children[place];
    bar.dataset.at = at;
    bar.children[0].textContent = about.classes[at];
    bar.children[1].firstElementChild.style.width = percent(shares[at]).replace(" ", "");
    bar.children[2].textContent = percent(shares[at]);
  });
  press();
  return best[0];
}

function press() {
  for (const bar of $("bars").children) bar.setAttribute("aria-pressed", String(Number(bar.dataset.at) === state.target));
}

function showAnswer({ shares }) {
  const best = bars(shares);
  $("likeliest").textContent = about.classes[best];
  $("share").textContent = percent(shares[best]);
}

function showAttribution(found) {
  $("map").src = found.picture;
  $("target").textContent = about.classes[found.target];
  $("scale").textContent = found.signed
    ? `Red speaks for it, blue against, up to ${scale(found)}.`
    : `Yellow decides most: ${scale(found)}.`;
}

function showAttacked({ picture, change, given, shares }) {
  $("changed").src = picture;
  $("change").src = change;
  const best = shares.indexOf(Math.max(...shares));
  const fooled = best !== given;
  $("broken").textContent = about.classes[best];
  $("broken").classList.toggle("fooled", fooled);
  $("broken-share").textContent = percent(shares[best]);
  $("fate").textContent = fooled
    ? "Another class, and no pixel has changed by more than epsilon (attack: PGD)."
    : "It withstands: PGD found no change of at most epsilon that gives it another class.";
  $("epsilon-value").textContent = `${state.epsilon.toFixed(3)} (${Math.round(255 * state.epsilon)}/255)`;
}

// Layers, and the one pixel.

function layersOnce() {
  rows = new Map();
  for (const layer of about.layers) {
    const row = make("div", "layer");
    const head = make("p");
    const more = layer.shape.length === 3 && layer.maps < layer.shape[2] ? `, the first ${layer.maps} maps` : "";
    head.append(make("bdi", "", layer.path), make("code", "", layer.kind), make("small", "", layer.shape.join(" × ") + more), make("span"));
    row.append(head, layer.shape.length === 3 ? mapsOf(layer) : make("div", "strip"));
    rows.set(layer.path, row);
    $("layers").append(row);
  }
}

function mapsOf(layer) {
  const group = make("div", "maps");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", `Maps of ${layer.path}`);
  for (let channel = 0; channel < layer.maps; channel++) {
    const map = make("button", "map");
    map.type = "button";
    map.tabIndex = channel ? -1 : 0; // a layer is one stop of the Tab key
    map.setAttribute("aria-label", `map ${channel}`);
    map.append(make("i", "mark"));
    fit(map, channel, layer.maps);
    map.addEventListener("click", (event) => {
      const [height, width] = layer.shape;
      const [x, y] = event.detail ? under(event, map, width, height) : [width / 2, height / 2]; // or by Enter
      choose({ layer: layer.path, channel, column: clamp(Math.floor(x), width - 1), row: clamp(Math.floor(y), height - 1) });
      if (!event.detail) $("chosen").focus();
    });
    group.append(map);
  }
  group.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const all = [...group.children];
    const next = all[clamp(all.indexOf(event.target) + step, all.length - 1)];
    all.forEach((map) => (map.tabIndex = map === next ? 0 : -1));
    next.focus();
  });
  return group;
}

// Shows one map of those that lie one below the other in a picture.
function fit(element, channel, maps) {
  element.style.backgroundSize = `100% ${100 * maps}%`;
  element.style.backgroundPosition = `0 ${maps > 1 ? (100 * channel) / (maps - 1) : 0}%`;
}

function showLayers({ layers }) {
  layers.forEach((found, at) => {
    const layer = about.layers[at];
    const row = rows.get(layer.path);
    row.style.setProperty("--sheet", `url("${found.picture}")`);
    row.firstElementChild.lastElementChild.textContent = found.largest ? scale(found) : "all 0";
  });
}

function choose(chosen) {
  Object.assign(state, chosen);
  place();
  changed("pixel");
}

// Puts the marks where the state says.
function place() {
  const layer = about.layers.find((one) => one.path === state.layer);
  $("pixel").hidden = !layer;
  if (!layer) return;
  const [height, width] = layer.shape;
  const group = rows.get(layer.path).children[1];
  for (const mark of document.querySelectorAll(".map .mark.on")) mark.classList.remove("on");
  for (const map of document.querySelectorAll(".maps .map[aria-pressed=true]")) map.setAttribute("aria-pressed", "false");
  const small = group.children[state.channel];
  small.setAttribute("aria-pressed", "true");
  [...group.children].forEach((map) => (map.tabIndex = map === small ? 0 : -1));
  for (const mark of [small.firstElementChild, $("chosen").firstElementChild]) {
    mark.classList.add("on");
    put(mark, state.column, state.row, width, height);
  }
  fit($("chosen"), state.channel, layer.maps);
  $("chosen").style.aspectRatio = `${width} / ${height}`;
  if ($("pixel").parentElement !== rows.get(layer.path)) rows.get(layer.path).append($("pixel"));
  $("where").textContent = `${layer.path}, map ${state.channel}, row ${state.row}, column ${state.column}`;
}

function move(columns, lines) {
  const [height, width] = about.layers.find((one) => one.path === state.layer).shape;
  choose({ column: clamp(state.column + columns, width - 1), row: clamp(state.row + lines, height - 1) });
}

let sliding;

function slide(on) {
  clearInterval(sliding);
  $("slide").setAttribute("aria-pressed", String(on));
  if (!on) return;
  sliding = setInterval(() => {
    const [height, width] = about.layers.find((one) => one.path === state.layer).shape;
    const next = (state.row * width + state.column + 1) % (width * height);
    choose({ row: Math.floor(next / width), column: next % width });
  }, 400);
}

function listenToMap() {
  const chosen = $("chosen");
  let held = false;
  const point = (event) => {
    const [height, width] = about.layers.find((one) => one.path === state.layer).shape;
    const [x, y] = under(event, chosen, width, height).map(Math.floor);
    choose({ column: clamp(x, width - 1), row: clamp(y, height - 1) });
  };
  chosen.addEventListener("pointerdown", (event) => {
    chosen.setPointerCapture(event.pointerId);
    held = true;
    point(event);
  });
  chosen.addEventListener("pointermove", (event) => held && point(event));
  for (const name of ["pointerup", "pointercancel"]) chosen.addEventListener(name, () => (held = false));
  chosen.addEventListener("keydown", (event) => {
    if (!(event.key in ARROWS)) return;
    event.preventDefault();
    move(...ARROWS[event.key]);
  });
  $("slide").addEventListener("click", () => slide($("slide").getAttribute("aria-pressed") !== "true"));
}

function showPixel(found) {
  $("value").textContent = shown(found.value, 4);
  if (!found.channels) {
    $("how").textContent = "What this layer gives here. Choose a map of a convolution to see a sum, number by number.";
    return $("terms").replaceChildren();
  }
  const products = found.sums.reduce((a, b) => a + b);
  $("value").textContent = `${shown(products, 4)} + ${shown(found.bias, 4)} = ${shown(found.value, 4)}`;
  const many = found.channels.length === 1 ? "the products below" : `the products of ${found.channels.length} channels`;
  $("how").textContent = `The sum of ${many}, plus the bias, is the value of the map. Hatched: padding, which counts as 0.`;
  const [high, long] = found.size;
  const kernels = largest(found.kernel), patches = largest(found.patch), terms = largest(found.products);
  $("terms").replaceChildren(
    ...found.channels.map((channel, at) => {
      const term = make("div", "term");
      const head = make("p");
      head.append(make("span", "muted", `input channel ${channel}`), make("b", "", shown(found.sums[at], 4)));
      const window = make("div", "window map");
      window.style.backgroundImage = `url("${found.inputs}")`;
      window.style.aspectRatio = `${long} / ${high}`;
      fit(window, at, found.maps);
      const mark = make("i", "mark on");
      const [top, left] = [found.rows[0], found.columns[0]];
      put(mark, left, top, long, high, found.columns.at(-1) - left + 1, found.rows.at(-1) - top + 1);
      window.append(mark);
      const line = make("div");
      line.append(
        window,
        table(found.patch[at], patches, "patch"), make("span", "", "×"),
        table(found.kernel[at], kernels, "kernel"), make("span", "", "="),
        table(found.products[at], terms, "products"),
      );
      term.append(head, line);
      return term;
    }),
  );
}

const largest = (numbers) => Math.max(...numbers.flat(2).map(Math.abs)) || 1;

function table(numbers, most, label) {
  const found = make("table");
  found.setAttribute("aria-label", label);
  for (const line of numbers) {
    const row = found.insertRow();
    for (const value of line) {
      const cell = row.insertCell();
      cell.textContent = value === null ? "0" : shown(value, 2);
      cell.className = value === null ? "outside" : value > 0 ? "plus" : "minus";
      cell.style.setProperty("--strength", `${(60 * Math.abs(value ?? 0)) / most}%`);
    }
  }
  return found;
}

async function begin() {
  about = await (await fetch("/about")).json();
  $("title").textContent = about.title;
  $("ink").hidden = about.size[2] !== 3;
  $("method").append(...about.methods.map((name) => new Option(name)));
  $("epsilon").max = about.most_epsilon;
  layersOnce();
  listenToPaper();
  listenToMap();
  const first = !location.hash;
  restore();
  if (first) example(0);
  window.addEventListener("hashchange", restore);
  $("method").addEventListener("change", () => ((state.method = $("method").value), changed("attribution")));
  $("epsilon").addEventListener("input", () => ((state.epsilon = Number($("epsilon").value)), changed("attacked")));
  $("erase").addEventListener("click", () =>
    $("erase").setAttribute("aria-pressed", String($("erase").getAttribute("aria-pressed") !== "true")));
  $("clear").addEventListener("click", () => show(new Uint8ClampedArray(state.image.length)));
  $("invert").addEventListener("click", () => show(state.image.map((value) => 255 - value)));
  $("example").addEventListener("click", () => example(Math.floor(Math.random() * about.examples)));
  $("file").addEventListener("change", () => open($("file").files[0]).then(() => ($("file").value = "")));
  $("opener").addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && $("file").click());
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => (event.preventDefault(), open(event.dataTransfer.files[0])));
}

begin().catch((error) => say(error.message));
