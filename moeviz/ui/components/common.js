// Shared by every component: reading bytes, knowing the theme, tooltips, and the common pick.

const KINDS = { Uint8Array, Uint16Array, Int16Array, Int32Array, Float32Array };

// The picture in `bytes` as {meta, and one typed array per name}. Layout: packet.py.
function unpack(bytes) {
  const head = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const meta = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + head)));
  const picture = { meta };
  for (const [name, kind, at, length] of meta.arrays) {
    const start = 4 + head + at;
    const end = start + length * KINDS[kind].BYTES_PER_ELEMENT;
    picture[name] = new KINDS[kind](bytes.slice(start, end).buffer); // slice: aligned copy
  }
  return picture;
}

// One selection for the whole page. Components listen, so a click shows before the server answers.
const bus = (window.moevizBus ??= { pick: {}, step: 0, visit: "", ears: new Set() });

function tell(pick) {
  bus.pick = pick;
  for (const ear of bus.ears) ear(pick);
}

// A token without `until` ends the selected range. wait: milliseconds in which a further choice
// replaces this one, for keys that are held down.
function choose(component, change, wait = 0) {
  const full = "token" in change ? { until: null, ...change } : change;
  bus.step += 1;
  tell({ ...bus.pick, ...full });
  clearTimeout(bus.soon);
  bus.unsent = { ...bus.unsent, ...full };
  const send = () => {
    component.setTriggerValue("pick", { ...bus.unsent, step: bus.step });
    bus.unsent = {};
  };
  if (wait) bus.soon = setTimeout(send, wait);
  else send();
}

// From the picked token to this one, both included.
function chooseTo(component, token, wait = 0) {
  const from = bus.pick.token ?? token;
  choose(component, { token: from, until: token === from ? null : token }, wait);
}

// [first, last] of the selected range of tokens, or null.
function rangeOf(pick) {
  return pick.until == null || pick.token == null ? null : [Math.min(pick.token, pick.until), Math.max(pick.token, pick.until)];
}

// DOM by hand: text is only ever set as text.
function el(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function svg(tag, facts, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(facts ?? {})) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function refill(node, children) {
  node.replaceChildren(...children.filter(Boolean));
}

// How to read a figure, its terms leading to their meaning; `told` comes from packet.py.
function howToRead(node, told) {
  refill(node, told.map((part) => (typeof part === "string" ? document.createTextNode(part) : termOf(part))));
}

function termOf([word, slug, means]) {
  const link = el("a", "term", word);
  link.href = `/learn?lesson=glossary&term=${slug}`;
  link.target = "_blank";
  link.title = means;
  return link;
}

// Colours of the theme in force; read once for all components that are drawn together, since each
// reading makes the browser settle the style of everything that changed.
function themeOf(node) {
  if (!bus.theme) {
    bus.theme = readTheme(node);
    setTimeout(() => (bus.theme = null), 20);
  }
  return bus.theme;
}

function readTheme(node) {
  const style = getComputedStyle(node);
  const get = (name) => style.getPropertyValue(name).trim();
  const ground = rgbOf(get("--st-background-color"));
  return {
    dark: luminance(ground) < 0.3,
    text: get("--st-text-color") || "#222",
    ground: get("--st-background-color") || "#fff",
    card: get("--st-secondary-background-color") || "#fff",
    accent: get("--st-primary-color") || "#36c",
    line: get("--st-border-color") || "#ccc",
    font: get("--st-font") || "sans-serif",
  };
}

const probe = document.createElement("canvas").getContext("2d");
function rgbOf(colour) {
  probe.fillStyle = "#fff";
  probe.fillStyle = colour || "#fff";
  const hex = probe.fillStyle;
  if (hex[0] === "#") return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return hex.match(/[\d.]+/g).slice(0, 3).map(Number);
}

function luminance([r, g, b]) {
  const f = (c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
}

// Black or white: the page's own ink where it is legible, else whichever reads better.
function inkOn(colour, dark) {
  const l = luminance(rgbOf(colour));
  const white = 1.05 / (l + 0.05), black = (l + 0.05) / 0.0583;
  return (dark ? white > Math.min(4.2, black) : white > black && black < 4.5) ? "#ffffff" : "#14171a";
}

const digits = (x, n = 3) => (Number.isFinite(x) ? (Math.abs(x) >= 100 ? x.toFixed(1) : x.toFixed(n)) : "–");
const exact = (x) => (Number.isFinite(x) ? String(Number.isInteger(x) ? x : +x.toPrecision(7)) : ""); // for files
const cellWord = (x) => (typeof x === "number" ? exact(x) : (x ?? ""));
const numeric = (label) => (/^(0|[1-9]\d{0,8})$/.test(label) ? Number(label) : label); // of a layer or an expert
const gateText = (x) => (Math.abs(x) >= 10 ? x.toFixed(0) : Math.abs(x) >= 1 ? x.toFixed(1) : x.toFixed(2).replace(/^(-?)0\./, "$1."));
function percentText(x) {
  if (!Number.isFinite(x)) return "–";
  const p = 100 * x;
  return `${p >= 9.95 || p === 0 ? p.toFixed(0) : p >= 0.095 ? p.toFixed(1) : p.toFixed(2)} %`;
}

// A tooltip that stays inside the window. lines: [[text, className], ...]; rows: [[cell, ...], ...].
function tipFor(root) {
  let box = root.querySelector(".tip");
  if (!box) {
    box = el("div", "tip");
    box.setAttribute("role", "status");
    root.append(box);
  }
  return {
    show(lines, table, rect) {
      refill(box, [...lines.map(([text, kind]) => el("div", kind, text)), table && tableOf(table)]);
      box.style.display = "block";
      const { width, height } = box.getBoundingClientRect();
      const left = Math.min(Math.max(8, rect.left + rect.width / 2 - width / 2), innerWidth - width - 8);
      const below = rect.bottom + 8 + height < innerHeight;
      box.style.left = `${left}px`;
      box.style.top = `${below ? rect.bottom + 8 : Math.max(8, rect.top - height - 8)}px`;
    },
    hide: () => (box.style.display = "none"),
  };
}

function tableOf({ head, rows }) {
  const table = el("table");
  const line = (cells, tag) => {
    const tr = el("tr");
    for (const cell of cells) tr.append(el(tag, "", cellWord(cell)));
    return tr;
  };
  if (head) {
    const thead = el("thead");
    thead.append(line(head, "th"));
    table.append(thead);
  }
  const body = el("tbody");
  for (const cells of rows) body.append(line(cells, "td"));
  table.append(body);
  return table;
}

function factOf([name, value]) {
  const row = el("div");
  row.append(el("dt", "", name), el("dd", "", value));
  return row;
}

// Columns of K choices and their gates: in one on the screen, in two in a file.
const choiceNames = (K, file, what = "Gate") => Array.from({ length: K }, (_, k) => (file ? [`Choice ${k + 1}`, `${what} ${k + 1}`] : `Choice ${k + 1}: ${what.toLowerCase()}`)).flat();

// A table made when it is first opened: thousands of rows cost nothing until asked for.
// make() gives {head, rows, note}; `full`, where the file to save holds more: {head, rows} too, with
// numbers as numbers and null for nothing.
function sheet(name, make, open) {
  const box = el("details");
  box.full = () => { const table = make(); return table.full?.() ?? table; };
  box.append(el("summary", "", name));
  const fill = () => {
    if (!box.open || box.querySelector(".sheet")) return;
    const holder = el("div", "sheet");
    holder.tabIndex = 0;
    const { note, ...table } = make();
    holder.append(tableOf(table));
    box.append(holder, waysToSave(box, name));
    if (note) box.append(el("p", "read", note));
  };
  box.ontoggle = fill;
  box.open = open;
  fill();
  return box;
}

// The card of a figure drawn as SVG, its parts under their names in `own`.
function figureCard(own) {
  const card = el("section", "card");
  own.headBox = el("div", "head");
  own.facts = el("dl", "facts");
  own.holder = el("div", "holder");
  own.holder.tabIndex = 0;
  own.holder.setAttribute("role", "application");
  own.foot = el("div", "foot");
  own.read = el("p", "read");
  own.sheets = el("div");
  own.said = el("div", "said");
  own.said.setAttribute("aria-live", "polite");
  card.append(own.headBox, own.facts, own.holder, own.foot, own.read, own.sheets, own.said);
  savable(own, card);
  own.root.replaceChildren(card);
  own.tip = tipFor(own.root);
}

// A bar from the low to the high end of a scale, with its words.
function scaleBar(colours, name, ends) {
  const box = el("div", "scale");
  if (name) box.append(el("span", "name", name));
  const bar = el("span", "ramp");
  bar.style.background = `linear-gradient(to right, ${colours.filter((_, i) => i % 7 === 0).join(",")})`;
  box.append(el("span", "", ends[0]), bar);
  if (ends.length === 3) {
    box.replaceChild(rampWithMiddle(bar, ends[1]), bar);
  }
  box.append(el("span", "", ends[ends.length - 1]));
  return box;
}

function rampWithMiddle(bar, word) {
  const box = el("span", "middle");
  box.append(bar.cloneNode(), el("span", "word", word));
  return box;
}

// State of one mounted component, kept across calls; `listen` hears every pick.
const instances = new WeakMap();
function instanceOf(component, make) {
  const { parentElement } = component;
  let own = instances.get(parentElement);
  if (!own) {
    own = make(parentElement.querySelector(".root"));
    instances.set(parentElement, own);
    bus.ears.add(own.listen);
  }
  own.component = component;
  return own;
}

function forget(own) {
  bus.ears.delete(own.listen);
  own.observer?.disconnect();
}
