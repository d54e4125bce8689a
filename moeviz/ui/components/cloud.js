// A cloud of points on a canvas: colour and shape by class, or colour by value; zoom, hover,
// lasso and box. The points come once; how they are coloured and what is placed among them comes
// apart, in a small packet (tint.js), so that a new colouring never sends the points again.

const SHAPES = ["circle", "square", "triangle", "diamond", "cross", "ring", "plus", "bar"];
const GREY = 0.16, MOVE_MS = 700, NEAR = 14, EDGE = 26;

function newCloud(root) {
  const own = { root, zoom: 1, x0: 0, y0: 0, at: -1, pinned: null, mode: "lasso", sprites: new Map() };
  if (matchMedia("(pointer: coarse)").matches) own.mode = "move";
  const card = el("section", "card");
  own.headBox = el("div", "head");
  own.lead = el("p", "lead");
  own.tools = el("div", "tools unsaved");
  own.board = el("div", "board");
  own.canvas = el("canvas");
  own.canvas.tabIndex = 0;
  own.canvas.setAttribute("role", "application");
  own.board.append(own.canvas);
  own.classes = el("div", "classes");
  own.foot = el("div", "foot");
  own.read = el("p", "read");
  own.sheets = el("div");
  own.said = el("div", "said");
  own.said.setAttribute("aria-live", "polite");
  card.append(own.headBox, own.lead, own.tools, own.board, own.classes, own.foot, own.read, own.sheets, own.said);
  savable(own, card);
  root.replaceChildren(card);
  own.tip = tipFor(root);
  own.listen = () => own.picture && retint(own);
  own.observer = new ResizeObserver(() => own.picture && draw(own));
  own.observer.observe(own.board);
  toolsOf(own);
  listenTo(own);
  return own;
}

export default function (component) {
  const own = instanceOf(component, newCloud);
  const dark = themeOf(own.root).dark;
  if (own.bytes !== component.data) take(own, component.data);
  if (own.dark !== dark) own.sprites.clear();
  own.dark = dark;
  own.theme = themeOf(own.root);
  own.ready = true;
  retint(own);
  return () => forget(own);
}

// New points. The same points at other places (a layout that replaced components) glide there.
function take(own, bytes) {
  const before = own.picture;
  own.bytes = bytes;
  own.picture = unpack(bytes);
  const { meta, x, y } = own.picture;
  const n = x.length;
  own.n = n;
  own.goal = { x: Float32Array.from(x, (v) => v / 65534), y: Float32Array.from(y, (v) => v / 65534) };
  const same = before && before.meta.points === meta.points;
  if (!same) {
    Object.assign(own, { zoom: 1, x0: 0, y0: 0, at: -1, pinned: null });
    own.selected = new Uint8Array(n);
    own.count = 0;
  }
  own.columns = Object.fromEntries(meta.columns.map((c, i) => [c.name, { ...c, codes: own.picture[`c${i}`] }]));
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (same && !calm) glide(own, own.now ?? own.goal);
  else own.now = own.goal;
  own.buckets = null;
}

function glide(own, from) {
  const start = performance.now(), goal = own.goal;
  const step = () => {
    if (own.goal !== goal) return;
    const t = Math.min(1, (performance.now() - start) / MOVE_MS), e = t * t * (3 - 2 * t);
    const mix = (a, b) => Float32Array.from(a, (v, i) => v + (b[i] - v) * e);
    own.now = t < 1 ? { x: mix(from.x, goal.x), y: mix(from.y, goal.y) } : goal;
    own.buckets = null;
    if (own.ready) draw(own);
    if (t < 1) requestAnimationFrame(step);
  };
  own.now = from;
  requestAnimationFrame(step);
}

// ---- what colours the points

function tintOf(own) {
  return bus.tints?.[own.picture.meta.name] ?? { meta: { column: own.picture.meta.columns[0].name, placed: [] } };
}

function retint(own) {
  const tint = tintOf(own), { meta } = own.picture;
  const key = `${tint.meta.column} ${tint.meta.stamp ?? ""}`;
  if (own.tintKey !== key) own.pinned = null;
  own.tintKey = key;
  own.tint = tint;
  own.column = tint.value ? null : own.columns[tint.meta.column] ?? own.columns[meta.columns[0].name];
  write(own);
  draw(own);
  Object.assign(own.root.dataset, {
    cloud: meta.name, kind: meta.kind, points: own.n, key: meta.key, column: tint.meta.column, placed: tint.meta.placed.length,
  });
}

function colourOf(own, i) {
  const ramp = own.dark ? own.picture.meta.ramp.dark : own.picture.meta.ramp.light;
  return ramp[Math.round((own.tint.value[i] / 255) * (ramp.length - 1))];
}

const classColour = (own, c) => {
  const list = own.dark ? own.picture.meta.dark : own.picture.meta.light;
  return list[c % list.length];
};
const shapeOf = (own, c) => SHAPES[Math.floor(c / own.picture.meta.light.length) % SHAPES.length];

// ---- words around the picture

function write(own) {
  const { meta } = own.picture, { tint } = own;
  refill(own.headBox, [el("h3", "", meta.title), el("span", "model", meta.model)]);
  own.lead.textContent = meta.lead;
  howToRead(own.read, meta.told);
  own.canvas.setAttribute("aria-label", `${meta.title}: ${own.n} ${meta.noun}s. Arrow keys go from point to point, Enter selects, plus and minus zoom, Escape clears.`);
  refill(own.classes, own.column ? own.column.classes.map((_, c) => classButton(own, c)) : []);
  refill(own.foot, [
    tint.value && scaleBar(own.dark ? meta.ramp.dark : meta.ramp.light, tint.meta.label, tint.meta.ends),
    ...tint.meta.placed.map((p) => el("span", "", `✳ ${p.label}`)),
  ]);
  own.foot.hidden = !own.foot.children.length;
  own.classes.hidden = !own.classes.children.length;
  refreshSheet(own);
  refreshTools(own);
}

function classButton(own, c) {
  const { name, count } = own.column.classes[c];
  const button = el("button");
  button.type = "button";
  button.dataset.class = c;
  button.setAttribute("aria-pressed", own.pinned === c);
  button.append(mark(own, c), el("span", "", name), el("span", "number", count.toLocaleString("en")));
  button.onclick = () => {
    own.pinned = own.pinned === c ? null : c;
    for (const other of own.classes.children) other.setAttribute("aria-pressed", own.pinned === +other.dataset.class);
    refreshTools(own);
    draw(own);
  };
  button.onmouseenter = button.onfocus = () => ((own.shown = c), draw(own));
  button.onmouseleave = button.onblur = () => ((own.shown = null), draw(own));
  return button;
}

function mark(own, c) {
  const size = 14, dpr = devicePixelRatio || 1;
  const canvas = el("canvas");
  canvas.width = canvas.height = size * dpr;
  canvas.style.width = canvas.style.height = `${size}px`;
  const pen = canvas.getContext("2d");
  pen.scale(dpr, dpr);
  shape(pen, shapeOf(own, c), size / 2, size / 2, 4.6, classColour(own, c));
  return canvas;
}

function refreshSheet(own) {
  const stamp = `${own.count} ${own.picture.meta.key}`;
  if (own.sheetStamp === stamp) return;
  own.sheetStamp = stamp;
  const open = own.sheets.querySelector("details")?.open ?? false;
  refill(own.sheets, [sheet("As a table", () => table(own), open)]);
}

const MOST_ROWS = 500;
function table(own, most = MOST_ROWS) {
  const { meta } = own.picture, columns = Object.values(own.columns);
  const rows = [], place = most === Infinity ? Number : (v) => v.toFixed(3);
  for (let i = 0; i < own.n && rows.length < most; i++) {
    if (own.count && !own.selected[i]) continue;
    rows.push([meta.texts[i], ...columns.map((c) => c.classes[c.codes[i]].name), place(own.goal.x[i]), place(own.goal.y[i])]);
  }
  const all = own.count || own.n;
  const note = all > rows.length ? `The first ${rows.length} of ${all.toLocaleString("en")}; select fewer to see them. A saved file has all.` : "";
  return { head: [meta.noun, ...columns.map((c) => c.label), "x", "y"], rows, note, full: () => table(own, Infinity) };
}

// ---- tools

function toolsOf(own) {
  const button = (word, press, title) => {
    const node = el("button", "", word);
    node.type = "button";
    node.title = title;
    node.onclick = press;
    return node;
  };
  const mode = (name, word, title) => {
    const node = button(word, () => ((own.mode = name), refreshTools(own)), title);
    node.dataset.mode = name;
    return node;
  };
  own.modes = [mode("lasso", "Lasso", "Draw around points to select them"), mode("box", "Box", "Drag a box around points"), mode("move", "Move", "Drag to move the map")];
  own.clear = button("Clear", () => selectNone(own, true), "Select nothing");
  own.these = button("Select these", () => selectClass(own), "Select every point of the class that is highlighted");
  own.counted = el("span", "count");
  own.counted.setAttribute("role", "status");
  const minus = button("−", () => zoomBy(own, 1 / 1.5), "Zoom out"), plus = button("+", () => zoomBy(own, 1.5), "Zoom in");
  minus.setAttribute("aria-label", "Zoom out");
  plus.setAttribute("aria-label", "Zoom in");
  own.tools.append(...own.modes, own.these, own.clear, own.counted, el("span", "gap"), minus, plus, button("Reset", () => home(own), "Show the whole map"));
}

function refreshTools(own) {
  for (const node of own.modes) node.setAttribute("aria-pressed", node.dataset.mode === own.mode);
  own.canvas.classList.toggle("grab", own.mode === "move" && own.zoom > 1);
  own.canvas.classList.toggle("draws", own.mode !== "move");
  own.these.hidden = own.pinned === null || !own.column;
  if (!own.these.hidden) own.these.textContent = `Select ${own.column.classes[own.pinned].name}`;
  own.clear.disabled = !own.count;
  own.counted.textContent = own.count ? `${own.count.toLocaleString("en")} of ${own.n.toLocaleString("en")} selected` : "";
}

function selectClass(own) {
  const { codes } = own.column;
  select(own, (i) => codes[i] === own.pinned);
}

function select(own, inside, add = false) {
  let count = 0;
  for (let i = 0; i < own.n; i++) {
    own.selected[i] = inside(i) || (add && own.selected[i]) ? 1 : 0;
    count += own.selected[i];
  }
  own.count = count;
  tellServer(own);
}

function selectNone(own, aloud = false) {
  own.selected.fill(0);
  own.count = 0;
  refreshTools(own);
  refreshSheet(own);
  draw(own);
  if (aloud) tellServer(own);
}

function tellServer(own) {
  refreshTools(own);
  refreshSheet(own);
  draw(own);
  own.said.textContent = own.count ? own.counted.textContent : "Nothing selected";
  const ids = [];
  own.selected.forEach((on, i) => on && ids.push(i));
  own.root.dataset.selected = own.count;
  own.component.setTriggerValue("pick", { ids, points: own.picture.meta.points });
}

// ---- drawing

function frame(own) {
  const wide = own.board.clientWidth;
  const tall = Math.round(Math.max(320, Math.min(620, wide * 0.72)));
  return { wide, tall, side: Math.min(wide, tall) - 2 * EDGE };
}

// Equal scales on both axes, or distances would lie.
function toScreen(own) {
  const { wide, tall } = own.size, { width, height } = own.picture.meta;
  const scale = Math.min((wide - 2 * EDGE) / width, (tall - 2 * EDGE) / height) * own.zoom;
  const left = wide / 2 - (width / 2 - own.x0) * scale, top = tall / 2 - (height / 2 - own.y0) * scale;
  return { scale, x: (v) => left + v * width * scale, y: (v) => top + (1 - v) * height * scale };
}

function draw(own) {
  if (!own.ready || own.queued) return;
  own.queued = true;
  requestAnimationFrame(() => {
    own.queued = false;
    paint(own);
  });
}

function paint(own) {
  own.size = frame(own);
  const { wide, tall } = own.size, dpr = devicePixelRatio || 1;
  if (!wide) return;
  if (own.canvas.width !== Math.round(wide * dpr) || own.canvas.height !== Math.round(tall * dpr)) {
    own.canvas.width = Math.round(wide * dpr);
    own.canvas.height = Math.round(tall * dpr);
    Object.assign(own.canvas.style, { width: `${wide}px`, height: `${tall}px` });
    own.buckets = null;
  }
  const pen = own.canvas.getContext("2d");
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, own.canvas.width, own.canvas.height);
  own.place = toScreen(own);
  points(own, pen, dpr);
  pen.setTransform(dpr, 0, 0, dpr, 0, 0);
  placed(own, pen);
  labels(own, pen);
  if (own.at >= 0) ringAt(own, pen, own.at);
  if (own.trail) trail(own, pen);
  Object.assign(own.root.dataset, { scale: own.place.scale, selected: own.count });
}

function radius(own) {
  const base = own.n > 12000 ? 1.5 : own.n > 5000 ? 2 : own.n > 600 ? 2.7 : 4.2;
  return Math.min(7, base * own.zoom ** 0.35);
}

// Points in three passes: those greyed out, those in view, those selected, so none hides a pick.
function points(own, pen, dpr) {
  const { x, y } = own.now, { place } = own, r = radius(own);
  const lit = own.column ? own.shown ?? own.pinned : null;
  const codes = own.column?.codes;
  const faded = (i) => (own.count && !own.selected[i]) || (lit !== null && codes[i] !== lit);
  for (const pass of [true, false]) {
    for (let i = 0; i < own.n; i++) {
      if (faded(i) !== pass) continue;
      const sprite = codes ? classSprite(own, codes[i], pass, r, dpr) : valueSprite(own, i, pass, r, dpr);
      pen.drawImage(sprite, Math.round(place.x(x[i]) * dpr - sprite.width / 2), Math.round(place.y(y[i]) * dpr - sprite.height / 2));
    }
  }
}

function classSprite(own, c, faded, r, dpr) {
  return sprite(own, faded ? "circle" : shapeOf(own, c), faded ? "" : classColour(own, c), faded ? r * 0.75 : r, dpr);
}

function valueSprite(own, i, faded, r, dpr) {
  return sprite(own, "circle", faded ? "" : colourOf(own, i), faded ? r * 0.75 : r, dpr, !faded);
}

function sprite(own, kind, colour, r, dpr, rim = false) {
  const key = `${kind} ${colour} ${r.toFixed(2)} ${dpr} ${rim}`;
  let made = own.sprites.get(key);
  if (made) return made;
  if (own.sprites.size > 600) own.sprites.clear();
  made = document.createElement("canvas");
  const half = Math.ceil((r + 2) * dpr);
  made.width = made.height = 2 * half;
  const pen = made.getContext("2d");
  pen.translate(half, half);
  pen.scale(dpr, dpr);
  pen.globalAlpha = colour ? 0.9 : GREY;
  shape(pen, kind, 0, 0, r, colour || own.theme.text);
  if (rim) {
    pen.globalAlpha = 0.25;
    pen.strokeStyle = own.theme.text;
    pen.lineWidth = 0.6;
    pen.stroke();
  }
  own.sprites.set(key, made);
  return made;
}

function shape(pen, kind, x, y, r, colour) {
  pen.fillStyle = pen.strokeStyle = colour;
  pen.lineWidth = Math.max(1.2, r * 0.5);
  pen.beginPath();
  if (kind === "circle") pen.arc(x, y, r, 0, 7);
  else if (kind === "square") pen.rect(x - r * 0.88, y - r * 0.88, r * 1.76, r * 1.76);
  else if (kind === "triangle") path(pen, [[x, y - r * 1.15], [x + r * 1.08, y + r * 0.85], [x - r * 1.08, y + r * 0.85]]);
  else if (kind === "diamond") path(pen, [[x, y - r * 1.25], [x + r * 1.05, y], [x, y + r * 1.25], [x - r * 1.05, y]]);
  else if (kind === "ring") pen.arc(x, y, r * 0.85, 0, 7);
  else if (kind === "cross") strokes(pen, [[x - r, y - r, x + r, y + r], [x - r, y + r, x + r, y - r]]);
  else if (kind === "plus") strokes(pen, [[x, y - r * 1.2, x, y + r * 1.2], [x - r * 1.2, y, x + r * 1.2, y]]);
  else strokes(pen, [[x - r * 1.3, y, x + r * 1.3, y]]);
  if (["ring", "cross", "plus", "bar"].includes(kind)) pen.stroke();
  else pen.fill();
}

function path(pen, corners) {
  corners.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.closePath();
}

function strokes(pen, lines) {
  for (const [a, b, c, d] of lines) {
    pen.moveTo(a, b);
    pen.lineTo(c, d);
  }
}

// Names where their class is thickest, unless it is thick nowhere or the place is taken.
function labels(own, pen) {
  if (!own.column) return;
  const { place, theme } = own, taken = [];
  pen.font = `600 13px ${theme.font}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.lineJoin = "round";
  const lit = own.shown ?? own.pinned;
  const order = own.column.classes.map((c, i) => [i, c.count]).sort((a, b) => (b[0] === lit) - (a[0] === lit) || b[1] - a[1]);
  for (const [c] of order) {
    const spot = own.picture.meta.spots[own.column.name][c];
    if (!spot || own.now !== own.goal || (lit !== null && c !== lit)) continue;
    const x = place.x(spot[0]), y = place.y(spot[1]) - 13, name = own.column.classes[c].name;
    const half = pen.measureText(name).width / 2 + 3;
    const box = [x - half, y - 9, x + half, y + 9];
    if (box[0] < 2 || box[2] > own.size.wide - 2 || taken.some((b) => box[0] < b[2] && b[0] < box[2] && box[1] < b[3] && b[1] < box[3])) continue;
    taken.push(box);
    pen.lineWidth = 4;
    pen.strokeStyle = theme.card;
    pen.globalAlpha = 0.85;
    pen.strokeText(name, x, y);
    pen.globalAlpha = 1;
    pen.fillStyle = theme.text;
    pen.fillText(name, x, y);
  }
  own.root.dataset.labels = taken.length;
}

// New texts on the map, tied to the points they were placed between.
function placed(own, pen) {
  const { place, theme } = own;
  for (const { x, y, near } of own.tint.meta.placed) {
    pen.strokeStyle = theme.text;
    pen.lineWidth = 1;
    pen.globalAlpha = 0.6;
    for (const i of near) {
      pen.beginPath();
      strokes(pen, [[place.x(x), place.y(y), place.x(own.now.x[i]), place.y(own.now.y[i])]]);
      pen.stroke();
    }
    pen.globalAlpha = 1;
    star(pen, place.x(x), place.y(y), 9, theme);
  }
}

function star(pen, x, y, r, theme) {
  const corners = [...Array(10)].map((_, k) => {
    const a = (Math.PI * k) / 5 - Math.PI / 2, q = k % 2 ? r * 0.45 : r;
    return [x + q * Math.cos(a), y + q * Math.sin(a)];
  });
  pen.beginPath();
  path(pen, corners);
  pen.lineWidth = 4;
  pen.strokeStyle = theme.card;
  pen.stroke();
  pen.fillStyle = theme.text;
  pen.fill();
}

function ringAt(own, pen, i) {
  pen.beginPath();
  pen.arc(own.place.x(own.now.x[i]), own.place.y(own.now.y[i]), radius(own) + 4, 0, 7);
  pen.lineWidth = 2;
  pen.strokeStyle = own.theme.text;
  pen.stroke();
}

function trail(own, pen) {
  pen.beginPath();
  path(pen, own.trail);
  pen.fillStyle = own.theme.accent;
  pen.globalAlpha = 0.12;
  pen.fill();
  pen.globalAlpha = 1;
  pen.strokeStyle = own.theme.accent;
  pen.lineWidth = 1.5;
  pen.setLineDash([5, 4]);
  pen.stroke();
  pen.setLineDash([]);
}

// ---- moving about

function zoomBy(own, factor, at) {
  const before = toScreen(own), zoom = Math.min(60, Math.max(1, own.zoom * factor));
  const x = at?.x ?? own.size.wide / 2, y = at?.y ?? own.size.tall / 2;
  const { wide, tall } = own.size, { width, height } = own.picture.meta;
  const dataX = (x - wide / 2) / before.scale + width / 2 - own.x0, dataY = (y - tall / 2) / before.scale + height / 2 - own.y0;
  own.zoom = zoom;
  const scale = toScreen(own).scale;
  own.x0 = (x - wide / 2) / scale + width / 2 - dataX;
  own.y0 = (y - tall / 2) / scale + height / 2 - dataY;
  if (zoom === 1) own.x0 = own.y0 = 0;
  own.buckets = null;
  refreshTools(own);
  draw(own);
}

function home(own) {
  Object.assign(own, { zoom: 1, x0: 0, y0: 0, buckets: null });
  refreshTools(own);
  draw(own);
}

// ---- pointer and keys

const GRAIN = 24;
function nearestTo(own, x, y) {
  own.buckets ??= bucketsOf(own);
  let best = -1, least = NEAR * NEAR;
  const cx = Math.floor(x / GRAIN), cy = Math.floor(y / GRAIN);
  for (let i = cx - 1; i <= cx + 1; i++) for (let j = cy - 1; j <= cy + 1; j++) {
    for (const p of own.buckets.get(i * 4096 + j) ?? []) {
      const d = (own.place.x(own.now.x[p]) - x) ** 2 + (own.place.y(own.now.y[p]) - y) ** 2;
      if (d < least) [best, least] = [p, d];
    }
  }
  return best;
}

function bucketsOf(own) {
  const cells = new Map();
  for (let i = 0; i < own.n; i++) {
    const key = Math.floor(own.place.x(own.now.x[i]) / GRAIN) * 4096 + Math.floor(own.place.y(own.now.y[i]) / GRAIN);
    if (cells.has(key)) cells.get(key).push(i);
    else cells.set(key, [i]);
  }
  return cells;
}

function listenTo(own) {
  const { canvas } = own;
  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.onpointerdown = (event) => own.picture && begin(own, event, where(event));
  canvas.onpointermove = (event) => own.picture && (own.drag ? drag(own, where(event)) : point(own, nearestTo(own, ...where(event))));
  canvas.onpointerup = (event) => own.drag && finish(own, event, where(event));
  canvas.onpointercancel = () => ((own.drag = own.trail = null), draw(own));
  canvas.onpointerleave = () => !own.drag && point(own, -1);
  canvas.onblur = () => point(own, -1);
  canvas.addEventListener("wheel", (event) => wheel(own, event, where(event)), { passive: false });
  canvas.onkeydown = (event) => key(own, event);
}

// The wheel zooms once the map was clicked, or with Ctrl; until then it scrolls the page.
function wheel(own, event, [x, y]) {
  if (!event.ctrlKey && own.root.getRootNode().activeElement !== own.canvas) return;
  event.preventDefault();
  zoomBy(own, Math.exp(-event.deltaY * 0.0018), { x, y });
}

function begin(own, event, at) {
  if (event.button) return;
  own.canvas.setPointerCapture(event.pointerId);
  own.drag = { from: at, last: at, far: 0 };
  own.trail = own.mode === "move" ? null : [at];
  point(own, -1);
}

function drag(own, at) {
  const { drag: held } = own;
  held.far = Math.max(held.far, Math.hypot(at[0] - held.from[0], at[1] - held.from[1]));
  if (own.mode === "move") {
    own.x0 += (at[0] - held.last[0]) / own.place.scale;
    own.y0 += (at[1] - held.last[1]) / own.place.scale;
    own.buckets = null;
  } else if (own.mode === "box") {
    const [a, b] = [held.from, at];
    own.trail = [a, [b[0], a[1]], b, [a[0], b[1]]];
  } else own.trail.push(at);
  held.last = at;
  draw(own);
}

function finish(own, event, at) {
  const { drag: held, trail: line } = own;
  own.drag = own.trail = null;
  if (held.far < 5) {
    const hit = nearestTo(own, ...at);
    if (hit >= 0) select(own, (i) => i === hit, event.shiftKey);
    else if (own.count) selectNone(own, true);
    return;
  }
  if (line) {
    const inside = insideOf(line);
    select(own, (i) => inside(own.place.x(own.now.x[i]), own.place.y(own.now.y[i])), event.shiftKey);
  }
  draw(own);
}

// Even-odd rule, with the outline's box tried first.
function insideOf(line) {
  const xs = line.map((p) => p[0]), ys = line.map((p) => p[1]);
  const box = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  return (x, y) => {
    if (x < box[0] || x > box[2] || y < box[1] || y > box[3]) return false;
    let odd = false;
    for (let i = 0, j = line.length - 1; i < line.length; j = i++) {
      const [ax, ay] = line[i], [bx, by] = line[j];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
    }
    return odd;
  };
}

function key(own, event) {
  const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (step) point(own, neighbour(own, step), true);
  else if (event.key === "Enter" && own.at >= 0) select(own, (i) => i === own.at || (event.shiftKey && own.selected[i]));
  else if (event.key === "Escape" && own.at < 0 && own.count) selectNone(own, true);
  else if (event.key === "Escape") point(own, -1);
  else if (event.key === "+" || event.key === "=") zoomBy(own, 1.5, own.at >= 0 ? spot(own, own.at) : undefined);
  else if (event.key === "-") zoomBy(own, 1 / 1.5);
  else if (event.key === "0") home(own);
  else return;
  event.preventDefault();
}

const spot = (own, i) => ({ x: own.place.x(own.now.x[i]), y: own.place.y(own.now.y[i]) });

// The nearest point that way: what lies aside counts double.
function neighbour(own, [dx, dy]) {
  if (own.at < 0) return middle(own);
  const from = spot(own, own.at);
  let best = own.at, least = Infinity;
  for (let i = 0; i < own.n; i++) {
    const to = spot(own, i), ahead = (to.x - from.x) * dx + (to.y - from.y) * dy;
    const aside = Math.abs((to.x - from.x) * dy) + Math.abs((to.y - from.y) * dx);
    if (ahead < 2 || aside > 2 * ahead) continue;
    if (ahead + 2 * aside < least) [best, least] = [i, ahead + 2 * aside];
  }
  return best;
}

function middle(own) {
  let best = -1, least = Infinity;
  for (let i = 0; i < own.n; i++) {
    const to = spot(own, i), d = Math.hypot(to.x - own.size.wide / 2, to.y - own.size.tall / 2);
    if (d < least) [best, least] = [i, d];
  }
  return best;
}

function point(own, i, aloud = false) {
  if (i === own.at && !aloud) return;
  own.at = i;
  draw(own);
  if (i < 0) return own.tip.hide();
  const lines = words(own, i);
  const box = own.canvas.getBoundingClientRect(), { x, y } = spot(own, i);
  own.tip.show(lines, null, { left: box.left + x, width: 0, top: box.top + y - 10, bottom: box.top + y + 10 });
  if (aloud) own.said.textContent = lines.map(([text]) => text).join(", ");
}

function words(own, i) {
  const { meta } = own.picture, { tint } = own;
  const labels = Object.values(own.columns).map((c) => c.classes[c.codes[i]].name).filter(Boolean);
  const lines = [[meta.texts[i], "title"], [labels.join(" · "), "soft"]];
  if (tint.value) {
    const value = tint.meta.low + (tint.value[i] / 255) * (tint.meta.high - tint.meta.low);
    lines.push([`${tint.meta.label}: ${tint.meta.times ? `${value.toFixed(1)} ×` : percentText(value)}`, ""]);
  }
  return lines;
}
