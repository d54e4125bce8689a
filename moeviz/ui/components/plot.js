// Bars and curves as SVG: few marks, so all are drawn anew when data, width or theme change.

const TALL = 236, EDGE = { top: 24, right: 16, bottom: 44, left: 56 };

function newPlot(root) {
  const own = { root, at: null };
  figureCard(own);
  own.listen = () => own.picture && draw(own);
  own.observer = new ResizeObserver(([{ contentRect }]) => {
    own.width = contentRect.width; // asking for it while drawing would lay out the whole page
    if (own.picture) draw(own);
  });
  own.observer.observe(own.holder);
  listenTo(own);
  return own;
}

export default function (component) {
  const own = instanceOf(component, newPlot);
  if (own.bytes !== component.data) {
    own.bytes = component.data;
    own.picture = unpack(component.data);
    own.at = null;
  }
  own.theme = themeOf(own.root);
  own.inks = { ...own.picture.meta.inks[own.theme.dark ? "dark" : "light"], text: own.theme.text };
  write(own);
  draw(own);
  const { meta } = own.picture;
  Object.assign(own.root.dataset, { key: meta.key, plot: meta.kind, at: meta.upright?.at ?? meta.line?.at ?? "", mark: meta.mark ?? "" });
  return () => forget(own);
}

// ---- words around the picture

function write(own) {
  const { meta } = own.picture;
  const place = [meta.model, meta.place].filter(Boolean).join(", ");
  refill(own.headBox, [el("h3", "", meta.title), el("span", "model", place)]);
  refill(own.facts, (meta.facts ?? []).map(factOf));
  own.facts.hidden = !meta.facts;
  own.facts.classList.toggle("ledger", Boolean(meta.ledger));
  howToRead(own.read, meta.told);
  own.holder.setAttribute("aria-label", `${meta.title}: ${meta.y.name} by ${meta.x.name}. Arrow keys move.`);
  const parts = meta.parts?.length > 1 ? meta.parts : [];
  const limit = meta.line && el("span", "swatch limit", meta.line.name);
  refill(own.foot, [...parts.map((p) => swatch(own.inks[p.name], p.name)), meta.band && swatch(null, meta.band.name, meta.band.level), limit]);
  own.foot.hidden = !own.foot.children.length;
  refill(own.sheets, [sheet("As a table", () => table(own), false)]);
}

function swatch(colour, name, level) {
  const box = el("span", colour ? "swatch" : level ? "swatch level" : "swatch band", name);
  if (colour) box.style.setProperty("--ink", colour);
  return box;
}

function say(own, y, value) {
  if (!Number.isFinite(value)) return "–";
  if (y.unit === "%") return percentText(value);
  if (y.digits !== undefined) return value.toFixed(y.digits) + (y.unit && ` ${y.unit}`);
  return y.unit ? `${value.toFixed(2)} ${y.unit}` : Math.round(value).toLocaleString("en");
}

function table(own, file = false) {
  const { meta } = own.picture;
  if (meta.kind === "lines") return curveTable(own, file);
  const word = (x) => (file ? x : say(own, meta.y, x));
  const banded = own.picture.low ? bandNames(meta.band.name, file) : [];
  const band = (i) => (!banded.length ? [] : file ? (bandAt(own, i) ?? [null, null]) : [bandWords(own, i)]);
  const head = [meta.x.name, ...(meta.parts.length > 1 ? meta.parts.map((p) => p.name) : [meta.y.name]), ...banded, ...(meta.x.long ? [file ? "Words" : ""] : [])];
  const rows = meta.x.labels.map((label, i) => [numeric(label), ...meta.parts.map((p) => word(own.picture[p.name][i])), ...band(i), ...(meta.x.long ? [meta.x.long[i]] : [])]);
  return { head, rows, full: () => table(own, true) };
}

const bandNames = (name, file) => (file ? [`${name} from`, `${name} to`] : [name]);

function curveTable(own, file) {
  const { meta, xs, values, low, high } = own.picture;
  const L = meta.lines.length;
  const word = (x) => (file ? x : say(own, meta.y, x));
  const band = (i) => (file ? [low[i], high[i]] : [`${word(low[i])} to ${word(high[i])}`]);
  const rows = [...xs].map((x, i) => [file && !meta.x.words ? x : placeOnX(own.picture, i), ...meta.lines.map((_, l) => word(values[i * L + l])), ...band(i)]);
  return { head: [meta.x.name, ...meta.lines, ...bandNames("Chance", file)], rows, full: () => curveTable(own, true) };
}

// ---- drawing

function draw(own) {
  const { width } = own;
  if (!width) return;
  const { meta } = own.picture;
  const box = { left: EDGE.left, right: width - EDGE.right, top: EDGE.top, bottom: TALL - EDGE.bottom };
  own.box = box;
  const top = highest(own);
  const y = (v) => box.bottom - (Math.min(v, top) / top) * (box.bottom - box.top);
  own.y = y;
  const paper = svg("svg", { width, height: TALL, viewBox: `0 0 ${width} ${TALL}`, "aria-hidden": "true" });
  paper.append(...scaleMarks(own, box, y, top));
  paper.append(...(meta.kind === "lines" ? curves(own, box, y) : bars(own, box, y, top)));
  own.holder.replaceChildren(paper);
}

// The top of the scale: the tallest mark, and the line across unless it lies far above them.
function highest(own) {
  const { meta } = own.picture;
  if (meta.kind === "lines") return Math.max(meta.y.top ?? 0.05, ...own.picture.values, ...own.picture.high) * 1.04;
  const sums = meta.x.labels.map((_, i) => (meta.beside ? Math.max(...partsAt(own, i)) : partsAt(own, i).reduce((sum, v) => sum + v, 0)));
  if (meta.y.top) sums.push(meta.y.top);
  const tall = Math.max(...sums.filter(Number.isFinite), ...(own.picture.high ?? []), meta.band?.high ?? 0, meta.y.unit === "%" ? 0.02 : 1e-9);
  return (meta.line && meta.line.at <= 2.5 * tall ? Math.max(tall, meta.line.at) : tall) * 1.06;
}

const partsAt = ({ picture }, i) => picture.meta.parts.map((p) => picture[p.name][i]);

function scaleMarks(own, box, y, top) {
  const { meta } = own.picture;
  const marks = [];
  for (const v of ticks(top, meta.y.unit === "" && meta.y.digits === undefined)) {
    marks.push(svg("line", { x1: box.left, x2: box.right, y1: y(v), y2: y(v), class: "rule" }));
    marks.push(svg("text", { x: box.left - 8, y: y(v) + 4, class: "tick end" }, tickWord(meta.y, v)));
  }
  marks.push(svg("text", { x: box.left - 44, y: 11, class: "axis" }, meta.y.name));
  marks.push(svg("text", { x: (box.left + box.right) / 2, y: TALL - 5, class: "axis mid" }, meta.x.name));
  return marks;
}

function ticks(top, whole) {
  const rough = top / 4, power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((s) => s >= rough);
  if (whole) step = Math.max(1, Math.round(step));
  const found = [];
  for (let v = 0; v <= top + 1e-9; v += step) found.push(v);
  return found;
}

function tickWord(y, v) {
  if (y.unit === "%") return `${+(100 * v).toFixed(1)} %`;
  if (y.digits !== undefined) return String(+v.toFixed(y.digits));
  return y.unit ? `${+v.toFixed(2)} ${y.unit}` : v.toLocaleString("en");
}

function bars(own, box, y) {
  const { meta } = own.picture;
  const n = meta.x.labels.length, step = (box.right - box.left) / n;
  const wide = Math.min(56, step > 9 ? step * 0.74 : Math.max(1, step - 1));
  const room = Math.max(22, 6 + 6.4 * Math.max(...meta.x.labels.map((label) => label.length)));
  const every = [1, 2, 4, 5, 8, 10, 16, 20, 32, 64].find((k) => k * step >= room) ?? 64;
  const marks = [];
  own.xOf = (i) => box.left + (i + 0.5) * step;
  own.indexAt = (x) => Math.min(n - 1, Math.max(0, Math.floor((x - box.left) / step)));
  if (meta.band && !own.picture.low) marks.push(svg("rect", { x: box.left, width: box.right - box.left, y: y(meta.band.high), height: Math.max(1, y(meta.band.low) - y(meta.band.high)), class: "chance" }));
  meta.x.labels.forEach((label, i) => {
    const x = own.xOf(i) - wide / 2;
    const band = bandAt(own, i);
    if (own.picture.low && band && !meta.band.level) marks.push(svg("rect", { x: own.xOf(i) - step / 2, width: step, y: y(band[1]), height: Math.max(2, y(band[0]) - y(band[1])), class: "chance" }));
    let base = 0;
    const each = meta.beside ? wide / meta.parts.length : wide;
    meta.parts.forEach((part, p) => {
      const v = own.picture[part.name][i];
      const at = meta.beside ? x + p * each : x;
      const from = meta.beside ? 0 : base;
      if (v > 0) marks.push(svg("rect", { x: at, width: each, y: y(from + v), height: Math.max(0.8, y(from) - y(from + v)), fill: own.inks[part.name], rx: step > 12 ? 1.5 : 0, class: `bar ${part.name}` }));
      base = meta.beside ? Math.max(base, v) : base + v;
    });
    const on = meta.x.pick && bus.pick[meta.x.pick] === i;
    if (meta.band?.level && band) marks.push(svg("line", { x1: own.xOf(i) - step / 2 + 3, x2: own.xOf(i) + step / 2 - 3, y1: y(band[0]), y2: y(band[0]), class: "level" }));
    if (i === own.at || on) marks.push(svg("rect", { x: x - 2, width: wide + 4, y: y(base) - 2, height: box.bottom - y(base) + 4, rx: 3, class: on ? "frame on" : "frame" }));
    if (i % every === 0 || on) marks.push(svg("text", { x: own.xOf(i), y: box.bottom + 16, class: on ? "tick mid on" : "tick mid" }, label));
  });
  if (meta.line) marks.push(...across(meta.line, box, y, highest(own)));
  return marks;
}

// [low, high] of chance for bar i: of its own, or the same for all; null for none.
function bandAt(own, i) {
  const { meta, low, high } = own.picture;
  if (!meta.band) return null;
  const band = low ? [low[i], high[i]] : [meta.band.low, meta.band.high];
  return band.every(Number.isFinite) ? band : null;
}

function bandWords(own, i, word = (v) => say(own, own.picture.meta.y, v)) {
  const band = bandAt(own, i);
  if (!band) return "–";
  const [low, high] = band.map(word);
  return low === high ? low : `${low} to ${high}`;
}

function across(line, box, y, top) {
  const at = y(line.at);
  if (line.at <= top) return [svg("line", { x1: box.left, x2: box.right, y1: at, y2: at, class: "limit" })];
  return [svg("text", { x: box.right, y: box.top - 8, class: "note end" }, `${line.name} ↑`)];
}

function curves(own, box, y) {
  const { meta, xs, values, low, high } = own.picture;
  const L = meta.lines.length;
  const x = (f) => box.left + ((f - meta.x.low) / (meta.x.high - meta.x.low)) * (box.right - box.left);
  own.xOf = (i) => x(xs[i]);
  own.indexAt = (at) => {
    const f = meta.x.low + ((at - box.left) / (box.right - box.left)) * (meta.x.high - meta.x.low);
    return [...xs].reduce((best, v, i) => (Math.abs(v - f) < Math.abs(xs[best] - f) ? i : best), 0);
  };
  const line = (l) => [...xs].map((f, i) => `${i ? "L" : "M"}${x(f).toFixed(1)} ${y(values[i * L + l]).toFixed(1)}`).join("");
  const up = [...xs].map((f, i) => `${i ? "L" : "M"}${x(f).toFixed(1)} ${y(high[i]).toFixed(1)}`).join("");
  const back = [...xs].map((f, i) => `L${x(f).toFixed(1)} ${y(low[i]).toFixed(1)}`).reverse().join("");
  const marks = [svg("path", { d: `${up}${back}Z`, class: "chance" })];
  meta.lines.forEach((_, l) => l !== meta.strong && marks.push(svg("path", { d: line(l), class: "faint" })));
  marks.push(svg("path", { d: line(meta.strong), class: "strong", stroke: own.inks.lost }));
  for (const [f, word] of ticksOf(meta, box)) marks.push(svg("text", { x: x(f), y: box.bottom + 16, class: "tick mid" }, word));
  marks.push(...pointer(own, box, x, y));
  if (own.at !== null) marks.push(svg("circle", { cx: own.xOf(own.at), cy: y(values[own.at * L + meta.strong]), r: 4, fill: own.inks.lost }));
  return marks;
}

// [place, word] under a curve: numbers, or the names of its places, as many as there is room for.
function ticksOf(meta, box) {
  const { words, ticks } = meta.x;
  if (!words) return (ticks ?? [0.25, 1, 2, 3, 4]).map((f) => [f, String(f)]);
  const every = Math.ceil((words.length * 46) / (box.right - box.left));
  return words.map((word, i) => [i, word]).filter((_, i) => (words.length - 1 - i) % every === 0);
}

const placeOnX = ({ meta, xs }, i) => meta.x.words?.[i] ?? xs[i].toFixed(meta.x.digits ?? 2);

// Where the factor stands now, and where the line meets the floor.
function pointer(own, box, x, y) {
  const { upright, dot } = own.picture.meta;
  const marks = [];
  if (upright) {
    marks.push(svg("line", { x1: x(upright.at), x2: x(upright.at), y1: box.top - 4, y2: box.bottom, class: "limit" }));
    const right = x(upright.at) > box.right - 60;
    marks.push(svg("text", { x: x(upright.at) + (right ? -6 : 6), y: box.top + 7, class: right ? "note end" : "note" }, upright.name));
  }
  if (Number.isFinite(dot?.at) && dot.at <= own.picture.meta.x.high) {
    marks.push(svg("circle", { cx: x(dot.at), cy: y(0), r: 4.5, fill: own.inks.lost, class: "dot" }));
    const right = x(dot.at) > (box.left + box.right) * 0.62;
    marks.push(svg("text", { x: x(dot.at) + (right ? 4 : -4), y: box.bottom - 11, class: right ? "note end" : "note" }, dot.name));
  }
  return marks;
}

// ---- pointer and keys

function listenTo(own) {
  const inside = (event) => own.indexAt?.(event.clientX - own.holder.getBoundingClientRect().left);
  own.holder.onmousemove = (event) => own.picture && point(own, inside(event));
  own.holder.onmouseleave = own.holder.onblur = () => point(own, null);
  own.holder.onclick = (event) => own.picture && take(own, inside(event));
  own.holder.onkeydown = (event) => {
    const count = own.picture.meta.kind === "lines" ? own.picture.xs.length : own.picture.meta.x.labels.length;
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -1e6, End: 1e6 }[event.key];
    if (event.key === "Escape") return point(own, null);
    if (event.key === "Enter" && own.at !== null) take(own, own.at);
    else if (step) point(own, Math.min(count - 1, Math.max(0, own.at === null ? 0 : own.at + step)), true);
    else return;
    event.preventDefault();
  };
}

function take(own, i) {
  const { meta, xs } = own.picture;
  if (meta.x.pick === "expert") choose(own.component, { expert: bus.pick.expert === i ? null : i });
  if (meta.x.pick === "row") choose(own.component, { row: i });
  if (meta.x.pick === "factor") choose(own.component, { factor: Math.round(xs[i] * 100) / 100 });
  if (meta.x.pick === "moment") choose(own.component, { moment: xs[i] });
}

function point(own, i, aloud = false) {
  if (i === own.at && !aloud) return;
  own.at = i;
  draw(own);
  if (i === null) return own.tip.hide();
  const { lines, rows } = words(own, i);
  const box = own.holder.getBoundingClientRect();
  const x = box.left + own.xOf(i);
  own.tip.show(lines, rows && { rows }, { left: x, width: 0, top: box.top, bottom: box.top + TALL - 20 });
  if (aloud) own.said.textContent = [...lines.map(([text]) => text), ...(rows ?? []).map((r) => r.join(" "))].join(", ");
}

function words(own, i) {
  const { meta } = own.picture;
  if (meta.kind === "lines") return curveWords(own, i);
  const lines = [[`${meta.x.name} ${meta.x.labels[i]}`, "title"]];
  if (meta.x.long) lines.push([meta.x.long[i], "soft"]);
  const rows = meta.parts.map((p) => [meta.parts.length > 1 ? p.name : meta.y.name, say(own, meta.y, own.picture[p.name][i])]);
  if (meta.band) rows.push([meta.band.name, bandWords(own, i)]);
  return { lines, rows };
}

function curveWords(own, i) {
  const { meta, values, low, high } = own.picture;
  const L = meta.lines.length;
  const near = meta.lines.map((name, l) => [name, say(own, meta.y, values[i * L + l])]);
  const rows = L <= 12 ? near : [near[meta.strong]];
  rows.push([meta.band.name, `${say(own, meta.y, low[i])} to ${say(own, meta.y, high[i])}`]);
  return { lines: [[`${meta.x.name} ${placeOnX(own.picture, i)}`, "title"], [`${meta.y.name}`, "soft"]], rows };
}
