// Rows by experts on a canvas. Only the rows in view are drawn, so size costs nothing.

const NONE = 65535;
const TALLEST = 470;
const SHOWN_ROWS = 500;

function newGrid(root) {
  const own = { root, cursor: null, sel: {}, zoom: 1 };
  const card = el("section", "card");
  own.headBox = el("div", "head");
  own.facts = el("dl", "facts");
  own.view = el("div", "view");
  own.canvas = el("canvas");
  own.spacer = el("div");
  own.mini = el("canvas", "mini");
  own.foot = el("div", "foot");
  own.read = el("p", "read");
  own.sheets = el("div");
  own.said = el("div", "said");
  own.said.setAttribute("aria-live", "polite");
  own.view.append(own.canvas, own.spacer);
  own.view.tabIndex = 0;
  own.view.setAttribute("role", "application");
  const plot = el("div", "plot");
  plot.append(own.view, own.mini);
  card.append(own.headBox, own.facts, plot, own.foot, own.read, own.sheets, own.said);
  savable(own, card);
  own.redraw = (canvas) => (canvas === own.canvas ? wholeGrid(own) : null);
  root.replaceChildren(card);
  own.tip = tipFor(root);
  own.listen = (pick) => select(own, pick);
  own.observer = new ResizeObserver(([{ contentRect }]) => {
    own.width = contentRect.width;
    if (own.picture) layOut(own);
  });
  own.observer.observe(plot);
  listenToPointer(own);
  listenToMini(own);
  own.view.onkeydown = (event) => onKey(own, event);
  own.view.onscroll = () => { own.tip.hide(); draw(own); };
  return own;
}

export default function (component) {
  const own = instanceOf(component, newGrid);
  if (own.bytes !== component.data) {
    own.bytes = component.data;
    own.picture = unpack(component.data);
    own.cursor = null;
    own.overview = null;
  }
  own.theme = themeOf(own.root);
  const { meta } = own.picture;
  own.colours = own.theme.dark ? meta.dark : meta.light;
  own.inks = own.colours.map((c) => inkOn(c, own.theme.dark));
  write(own);
  layOut(own);
  select(own, bus.pick);
  Object.assign(own.root.dataset, { key: meta.key, rows: meta.rows.labels.length, columns: meta.columns, ...prefixed(meta.fixed), mark: meta.mark ?? "" });
  return () => forget(own);
}

const prefixed = (fixed) => Object.fromEntries(Object.entries(fixed).map(([k, v]) => [`fixed${k[0].toUpperCase()}${k.slice(1)}`, v]));

// ---- words around the canvas

function write(own) {
  const { meta } = own.picture;
  refill(own.headBox, [el("h3", "", meta.title), meta.token !== undefined && tokenChip(meta.token), el("span", "model", meta.model)]);
  refill(own.facts, (meta.facts ?? []).map(factOf));
  own.facts.hidden = !meta.facts;
  howToRead(own.read, meta.told);
  const range = meta.rows.kind === "token" ? ", Shift and Enter select a range" : "";
  own.view.setAttribute("aria-label", `${meta.title}: ${meta.rows.labels.length} rows of ${meta.columns} ${across(meta).kind}s. Arrow keys move, Enter picks${range}.`);
  const marks = own.picture.experts && el("span", "chosen", meta.marks ?? "chosen");
  const rings = own.picture.left_out && el("span", "chosen ring", "runner-up");
  const band = meta.bars && el("span", "band", "chance");
  const scale = meta.cell.unit !== "yes" && scaleBar(own.colours, meta.cell.name, meta.ends);
  refill(own.foot, [scale, marks, rings, band, zoomOf(own)]);
  refill(own.sheets, sheetsOf(own));
}

// What the columns are: experts, unless the picture says otherwise.
const across = (meta) => meta.across ?? { kind: "expert", name: "Expert" };
const columnLabel = (meta, c) => meta.across?.labels[c] ?? String(c);

function tokenChip(text) {
  const chip = el("bdi", "token", text);
  chip.dir = "auto";
  return chip;
}

function sheetsOf(own) {
  const { meta, experts } = own.picture;
  if (meta.choices) return [sheet(own.picture.gates ? "Chosen experts and gates" : "Chosen experts", () => choicesTable(own), true)];
  if (!experts) return [sheet("As a table", () => sharesTable(own), false)];
  return [sheet("Load as a table", () => loadTable(own), false), sheet("Choices as a table", () => choicesTable(own), false)];
}

function choicesTable(own, most = SHOWN_ROWS) {
  const { meta, experts, gates, share, left_out } = own.picture;
  const K = meta.chosen;
  if (meta.across) return crossTable(own, most);
  if (most === Infinity) return choicesFile(own);
  const labels = meta.rows.labels.slice(0, most);
  const rows = labels.map((label, r) => {
    const cells = [];
    for (let s = r * K; s < (r + 1) * K; s++) {
      const part = share ? ` (${percentText(share[s])})` : "";
      cells.push(experts[s] < 0 ? "none" : gates ? `${experts[s]}: ${digits(gates[s])}${part}` : String(experts[s]));
    }
    if (left_out) cells.push(leftOutWords(own, r));
    return meta.rows.kind === "token" ? [String(r + 1), label, ...cells] : [label, ...cells];
  });
  const slots = gates ? choiceNames(K) : Array.from({ length: K }, (_, k) => `Choice ${k + 1}`);
  if (left_out) slots.push("Runner-up");
  const head = meta.rows.kind === "token" ? ["#", meta.rows.name, ...slots] : [meta.rows.name, ...slots];
  return { head, rows, note: leftNote(meta), full: () => choicesTable(own, Infinity) };
}

// The same for a file, a number a column.
function choicesFile(own) {
  const { meta, experts, gates, share, left_out, behind } = own.picture;
  const K = meta.chosen, token = meta.rows.kind === "token";
  const rows = meta.rows.labels.map((label, r) => {
    const cells = token ? [r + 1, label] : [numeric(label)];
    for (let s = r * K; s < (r + 1) * K; s++) {
      const all = [experts[s], ...(gates ? [gates[s]] : []), ...(share ? [share[s]] : [])];
      cells.push(...(experts[s] < 0 ? all.map(() => null) : all));
    }
    if (left_out) cells.push(...(left_out[r] < 0 ? [null, null] : [left_out[r], behind[r]]));
    return cells;
  });
  const slots = Array.from({ length: K }, (_, k) => [`Choice ${k + 1}`, ...(gates ? [`Gate ${k + 1}`] : []), ...(share ? [`Share of gates ${k + 1}`] : [])]).flat();
  return { head: [...(token ? ["#"] : []), meta.rows.name, ...slots, ...(left_out ? ["Runner-up", "Behind"] : [])], rows };
}

function leftOutWords(own, r) {
  const { left_out, behind } = own.picture;
  return left_out[r] < 0 ? "not known" : `${left_out[r]}, ${digits(behind[r], 2)} behind`;
}

// One column per layer: the gate where the expert was chosen there.
function crossTable(own, most) {
  const { meta, experts, gates } = own.picture;
  const file = most === Infinity;
  const cell = (s) => {
    if (experts[s] < 0) return file ? null : "–";
    if (!gates) return file ? 1 : "chosen";
    return file ? gates[s] : digits(gates[s]);
  };
  const labels = meta.rows.labels.slice(0, most), K = meta.chosen;
  const rows = labels.map((label, r) => [r + 1, label, ...Array.from({ length: K }, (_, k) => cell(r * K + k))]);
  const head = ["#", meta.rows.name, ...meta.across.labels.map((l) => `Layer ${l}`)];
  return { head, rows, note: leftNote(meta), full: () => crossTable(own, Infinity) };
}

function leftNote(meta) {
  const all = meta.rows.labels.length;
  return all > SHOWN_ROWS ? `The first ${SHOWN_ROWS} of ${all} rows; a saved file has all.` : "";
}

function loadTable(own, file = false) {
  const { bars, meta } = own.picture;
  const rows = [];
  bars.forEach((x, e) => {
    const times = x / meta.bars.even;
    if (Number.isFinite(x)) rows.push([numeric(columnLabel(meta, e)), ...(file ? [x, times] : [percentText(x), `${times.toFixed(2)} ×`])]);
  });
  return { head: [across(meta).name, "Share of assignments", "Against even"], rows, full: () => loadTable(own, true) };
}

function sharesTable(own, share = (v) => cellText(own.picture.meta, v)) {
  const { meta } = own.picture;
  const rows = meta.rows.labels.map((label, r) => [meta.rows.kind === "layer" ? numeric(label) : label, ...Array.from({ length: meta.columns }, (_, c) => {
    const v = valueAt(own, r, c);
    return v === null ? null : share(v);
  })]);
  return { head: [meta.rows.name, ...Array.from({ length: meta.columns }, (_, c) => columnLabel(meta, c))], rows, full: () => sharesTable(own, Number) };
}

// ---- geometry

function layOut(own) {
  const { meta } = own.picture;
  const R = meta.rows.labels.length;
  const tokens = meta.rows.kind === "token", named = meta.rows.kind !== "layer";
  const g = { rowHeight: tokens ? Math.max(1, Math.round(21 * own.zoom)) : 24, head: meta.bars ? 112 : 22, font: `${own.theme.font}` };
  const { width } = own;
  if (!width) return;
  const full = g.head + R * g.rowHeight + 2;
  g.height = Math.min(full, TALLEST);
  own.mini.style.display = full > g.height * 1.4 ? "block" : "none";
  const room = width - (own.mini.style.display === "block" ? 48 : 0);
  g.gutter = gutterFor(own, named ? Math.min(130, room * 0.28) : 60);
  g.cell = Math.max(tokens ? 5 : 3, Math.min(named ? 64 : 44, (room - g.gutter - 1) / meta.columns)) * Math.max(1, own.zoom);
  g.full = full;
  g.wide = g.gutter + g.cell * meta.columns + 1;
  g.width = Math.min(room, Math.max(g.wide, 60));
  own.g = g;
  const ratio = window.devicePixelRatio || 1;
  own.canvas.width = Math.round(g.width * ratio);
  own.canvas.height = Math.round(g.height * ratio);
  Object.assign(own.canvas.style, { width: `${g.width}px`, height: `${g.height}px` });
  Object.assign(own.view.style, { maxWidth: `${g.width + 17}px`, height: `${g.height + (g.wide > g.width + 1 ? 12 : 0)}px` });
  Object.assign(own.spacer.style, { marginTop: `${-g.height}px`, width: `${g.wide}px`, height: `${full}px` });
  Object.assign(own.root.dataset, { gutter: g.gutter, cell: g.cell, rowHeight: g.rowHeight, head: g.head });
  draw(own);
}

// Smaller, to see a long text at once, or larger: only where rows are tokens and many.
const ZOOMS = [0.1, 0.25, 0.5, 1, 1.6];

function zoomOf(own) {
  const { rows } = own.picture.meta;
  if (rows.kind !== "token" || rows.labels.length < 24) {
    [own.zoom, own.zoomKeys] = [1, null];
    return null;
  }
  const box = el("span", "zoom unsaved");
  const button = (sign, name, by) => {
    const key = el("button", "", sign);
    key.title = name;
    key.setAttribute("aria-label", name);
    key.onclick = () => zoom(own, by);
    box.append(key);
    return key;
  };
  own.zoomKeys = [button("−", "Smaller rows", -1), button("+", "Larger rows", 1)];
  limitZoom(own);
  return box;
}

function limitZoom(own) {
  const at = ZOOMS.indexOf(own.zoom);
  own.zoomKeys[0].disabled = at === 0;
  own.zoomKeys[1].disabled = at === ZOOMS.length - 1;
}

// The row in the middle stays there.
function zoom(own, by) {
  const next = ZOOMS[ZOOMS.indexOf(own.zoom) + by];
  if (!next || !own.zoomKeys) return;
  const room = own.g.height - own.g.head;
  const middle = (own.view.scrollTop + room / 2) / own.g.rowHeight;
  own.zoom = next;
  limitZoom(own);
  layOut(own);
  own.view.scrollTop = middle * own.g.rowHeight - (own.g.height - own.g.head) / 2;
  draw(own);
}

function gutterFor(own, most) {
  const ctx = own.canvas.getContext("2d");
  ctx.font = `13px ${own.theme.font}`;
  let widest = ctx.measureText(own.picture.meta.rows.name).width;
  for (const label of own.picture.meta.rows.labels.slice(0, 400)) widest = Math.max(widest, ctx.measureText(label).width);
  return Math.round(Math.min(most, widest) + 12);
}

function valueAt(own, r, c) {
  const { meta, values } = own.picture;
  const step = values[r * meta.columns + c];
  return step === NONE ? null : meta.cell.low + (step / (NONE - 1)) * (meta.cell.high - meta.cell.low);
}

// Place of a cell's colour in the scale. Against the even share a doubling is a fixed step;
// a "root" scale spreads the small values, where most of a router's probabilities lie.
function placeOf(own, r, c) {
  const { meta, values, even } = own.picture;
  const step = values[r * meta.columns + c];
  if (step === NONE) return -1;
  const linear = step / (NONE - 1);
  const t = own.picture.lift ? Math.log2(Math.max(own.picture.lift[r * meta.columns + c], 1)) / 3 : even ? 0.5 + Math.log2(Math.max(valueAt(own, r, c) / even[r], 1e-6)) / 4 : meta.cell.root ? Math.sqrt(linear) : linear;
  return Math.round(Math.min(1, Math.max(0, t)) * (own.colours.length - 1));
}

// ---- drawing

function draw(own) {
  const { g, canvas, view } = own;
  if (!g) return;
  const ctx = canvas.getContext("2d");
  const ratio = window.devicePixelRatio || 1;
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, g.width, g.height);
  const { scrollTop: top, scrollLeft: left } = view;
  const first = Math.floor(top / g.rowHeight);
  const last = Math.min(own.picture.meta.rows.labels.length - 1, Math.ceil((top + g.height - g.head) / g.rowHeight));
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, g.head, g.width, g.height - g.head);
  ctx.clip();
  ctx.translate(0, g.head - top);
  if (g.rowHeight < 8) drawSmall(own, ctx, first, last, left);
  else for (let r = first; r <= last; r++) drawRow(own, ctx, r, left);
  drawSelection(own, ctx, left);
  ctx.restore();
  drawHead(own, ctx, left);
  drawMini(own);
}

// The grid for a file: all rows where they are not too many, else those in view.
function wholeGrid(own) {
  const { g, view } = own;
  const all = own.picture.meta.rows.labels.length <= SHOWN_ROWS;
  const theme = { ...own.theme, font: SAVED_FONT };
  const gutter = gutterFor({ ...own, theme }, 150);
  const width = gutter + (all ? g.wide : g.width) - g.gutter;
  const size = { ...g, gutter, width, height: all ? g.full : g.height, font: SAVED_FONT };
  const still = { scrollTop: all ? 0 : view.scrollTop, scrollLeft: all ? 0 : view.scrollLeft, matches: () => false };
  const paint = (canvas) => draw({ ...own, theme, canvas, g: size, view: still, mini: { style: { display: "none" } } });
  return onPaper(size.width, size.height, paint);
}

const xOf = (g, c, left) => Math.round(g.gutter + c * g.cell - left);

function drawRow(own, ctx, r, left) {
  const { g, picture } = own;
  const y = r * g.rowHeight;
  const gap = g.cell >= 9 ? 1 : 0;
  ctx.save();
  ctx.beginPath();
  ctx.rect(g.gutter, y, g.width - g.gutter, g.rowHeight);
  ctx.clip();
  for (let c = 0; c < picture.meta.columns; c++) {
    const x = xOf(g, c, left), next = xOf(g, c + 1, left);
    const place = placeOf(own, r, c);
    if (next < g.gutter || x > g.width || place < 0) continue;
    const inset = picture.inside?.[r * picture.meta.columns + c] ? 0.3 : 0; // no more than chance: small
    const wide = next - x - gap, high = g.rowHeight - 1;
    ctx.fillStyle = own.colours[place];
    ctx.fillRect(x + wide * inset, y + high * inset, wide * (1 - 2 * inset), high * (1 - 2 * inset));
  }
  if (picture.experts) drawChoices(own, ctx, r, left);
  ctx.restore();
  drawLabel(own, ctx, r);
}

// Rows too low for signs: the overview, enlarged, and the label of the selected row.
function drawSmall(own, ctx, first, last, left) {
  const { g } = own;
  const { columns } = own.picture.meta;
  const { image } = overviewOf(own);
  ctx.save();
  ctx.beginPath();
  ctx.rect(g.gutter, first * g.rowHeight, g.width - g.gutter, (last + 1 - first) * g.rowHeight);
  ctx.clip();
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(image, 0, first, columns, last + 1 - first, g.gutter - left, first * g.rowHeight, columns * g.cell, (last + 1 - first) * g.rowHeight);
  ctx.restore();
  if (own.sel.row >= first && own.sel.row <= last) drawLabel(own, ctx, own.sel.row);
}

function drawChoices(own, ctx, r, left) {
  const { g, picture } = own;
  const ids = picture.own ?? picture.experts;
  const K = picture.own ? picture.meta.own : picture.meta.chosen;
  const middle = r * g.rowHeight + (g.rowHeight - 1) / 2;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.font = `600 11px ${g.font}`;
  for (let s = r * K; s < (r + 1) * K; s++) {
    const e = ids[s];
    if (e < 0) continue;
    const x = (xOf(g, e, left) + xOf(g, e + 1, left) - 1) / 2;
    ctx.fillStyle = own.inks[placeOf(own, r, e)] ?? own.theme.text;
    if (g.cell >= 27 && g.rowHeight >= 16 && picture.gates && !picture.own) ctx.fillText(gateText(picture.gates[s]), x, middle + 0.5);
    else dot(ctx, x, middle, Math.max(1.4, Math.min(3.4, g.cell / 5)));
  }
  const e = picture.left_out?.[r] ?? -1;
  if (e >= 0) ring(own, ctx, e, (xOf(g, e, left) + xOf(g, e + 1, left) - 1) / 2, middle, r);
}

function ring(own, ctx, e, x, y, r) {
  ctx.strokeStyle = own.inks[placeOf(own, r, e)] ?? own.theme.text;
  ctx.lineWidth = 1.4;
  ctx.beginPath();
  ctx.arc(x, y, Math.max(1.6, Math.min(3.6, own.g.cell / 5)), 0, 2 * Math.PI);
  ctx.stroke();
}

function dot(ctx, x, y, radius) {
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
  ctx.fill();
}

function drawLabel(own, ctx, r) {
  const { g, picture, sel } = own;
  const label = picture.meta.rows.labels[r];
  ctx.fillStyle = own.theme.text;
  ctx.globalAlpha = r === sel.row ? 1 : 0.78;
  ctx.font = `${r === sel.row ? 700 : 400} 13px ${g.font}`;
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  ctx.direction = "ltr";
  ctx.fillText(fitted(ctx, label, g.gutter - 10), g.gutter - 8, r * g.rowHeight + g.rowHeight / 2);
  ctx.globalAlpha = 1;
}

function fitted(ctx, label, room) {
  if (ctx.measureText(label).width <= room) return label;
  const letters = Array.from(label);
  while (letters.length > 1 && ctx.measureText(`${letters.join("")}…`).width > room) letters.pop();
  return `${letters.join("")}…`;
}

function drawSelection(own, ctx, left) {
  const { g, sel, picture } = own;
  const R = picture.meta.rows.labels.length;
  ctx.strokeStyle = own.theme.text;
  const box = (r, c0, c1, width, rows = 1) => {
    ctx.lineWidth = width;
    const x = xOf(g, c0, left);
    ctx.strokeRect(x - 0.5, r * g.rowHeight - 0.5, xOf(g, c1, left) - x, rows * g.rowHeight);
  };
  ctx.save();
  ctx.beginPath();
  ctx.rect(g.gutter - 5, -2, g.width, R * g.rowHeight + 4);
  ctx.clip();
  if (sel.range) {
    const [a, b] = sel.range;
    box(a, 0, picture.meta.columns, 1.5, b - a + 1);
    ctx.fillStyle = own.theme.text;
    ctx.fillRect(g.gutter - 4, a * g.rowHeight - 0.5, 4, (b - a + 1) * g.rowHeight);
    ctx.globalAlpha = 0.05;
    ctx.fillRect(g.gutter, a * g.rowHeight, g.width - g.gutter, (b - a + 1) * g.rowHeight);
    ctx.globalAlpha = 1;
  } else if (sel.row >= 0) box(sel.row, 0, picture.meta.columns, 1.5);
  if (sel.column >= 0) box(0, sel.column, sel.column + 1, 1.5, R);
  if (sel.cell) box(sel.cell[0], sel.cell[1], sel.cell[1] + 1, 2.5);
  ctx.strokeStyle = own.theme.accent;
  if (own.cursor && document.activeElement && own.view.matches(":focus")) box(own.cursor[0], own.cursor[1], own.cursor[1] + 1, 2.5);
  ctx.restore();
}

function drawHead(own, ctx, left) {
  const { g, picture, sel } = own;
  const { columns, bars } = picture.meta;
  ctx.save();
  ctx.beginPath();
  ctx.rect(g.gutter - 1, 0, g.width - g.gutter + 1, g.head);
  ctx.clip();
  if (bars) drawBars(own, ctx, left);
  const every = [1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64].find((n) => n * g.cell >= 21) ?? 64;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  const shown = (c) => c % every === 0 || c === sel.column;
  for (let c = 0; c < columns; c++) {
    if (!shown(c)) continue;
    ctx.font = `${c === sel.column ? 700 : 400} 12px ${g.font}`;
    ctx.globalAlpha = c === sel.column ? 1 : 0.72;
    ctx.fillStyle = own.theme.text;
    ctx.fillText(columnLabel(own.picture.meta, c), (xOf(g, c, left) + xOf(g, c + 1, left) - 1) / 2, g.head - 10);
  }
  ctx.restore();
  ctx.globalAlpha = 0.72;
  ctx.fillStyle = own.theme.text;
  ctx.font = `12px ${g.font}`;
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  ctx.fillText(across(picture.meta).name, g.gutter - 8, g.head - 10);
  ctx.globalAlpha = 1;
}

// The layer's load over the same columns as the grid; the grey band is chance.
function drawBars(own, ctx, left) {
  const { g, picture, sel, theme } = own;
  const { low, high } = picture.meta.bars;
  const base = g.head - 24, tall = base - 16;
  const top = picture.meta.bars.top ?? Math.max(high, ...picture.bars.filter(Number.isFinite));
  const y = (share) => base - (share / top) * tall;
  ctx.fillStyle = theme.text;
  ctx.globalAlpha = 0.14;
  ctx.fillRect(g.gutter - left, y(high), g.cell * picture.meta.columns, Math.max(1, y(low) - y(high)));
  picture.bars.forEach((share, c) => {
    const x = xOf(g, c, left), wide = xOf(g, c + 1, left) - x - (g.cell >= 9 ? 1 : 0);
    const inset = g.cell >= 20 ? Math.round(wide * 0.16) : 0;
    ctx.globalAlpha = share >= low && share <= high ? 0.55 : 1;
    ctx.fillStyle = own.colours[Math.round(own.colours.length * (theme.dark ? 0.72 : 0.76))];
    if (c === sel.column) ctx.fillStyle = theme.text;
    if (Number.isFinite(share)) ctx.fillRect(x + inset, y(share), wide - 2 * inset, Math.max(base - y(share), share > 0 ? 1 : 0));
  });
  labelBars(own, ctx, left, y);
}

function labelBars(own, ctx, left, y) {
  const { g, picture, theme } = own;
  ctx.globalAlpha = 0.85;
  ctx.fillStyle = theme.text;
  ctx.font = `11px ${g.font}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "bottom";
  picture.bars.forEach((share, c) => {
    if (g.cell < 23 || !(share >= 0.005)) return;
    ctx.fillText(percentText(share).replace(/\.\d/, "").replace(" %", "%"), (xOf(g, c, left) + xOf(g, c + 1, left)) / 2, y(share) - 2);
  });
  ctx.globalAlpha = 1;
}

// All rows at once, small, with a frame around those in view; drag it to move.
function drawMini(own) {
  const { g, mini, picture } = own;
  if (mini.style.display === "none") return;
  const { columns, rows } = picture.meta;
  const R = rows.labels.length, ratio = window.devicePixelRatio || 1;
  const { image } = overviewOf(own);
  mini.width = 40 * ratio;
  mini.height = g.height * ratio;
  mini.style.height = `${g.height}px`;
  const ctx = mini.getContext("2d");
  ctx.imageSmoothingEnabled = R > mini.height;
  ctx.drawImage(image, 0, 0, mini.width, mini.height);
  const seen = (g.height - g.head) / (R * g.rowHeight);
  const at = own.view.scrollTop / (R * g.rowHeight);
  ctx.strokeStyle = own.theme.text;
  ctx.lineWidth = 2 * ratio;
  ctx.strokeRect(ratio, at * mini.height + ratio, mini.width - 2 * ratio, Math.max(8, seen * mini.height - 2 * ratio));
}

// Every cell as one dot, made once for a picture and theme.
function overviewOf(own) {
  if (own.overview?.dark !== own.theme.dark) own.overview = { image: wholeImage(own), dark: own.theme.dark };
  return own.overview;
}

function wholeImage(own) {
  const { columns, rows } = own.picture.meta;
  const R = rows.labels.length;
  const image = document.createElement("canvas");
  [image.width, image.height] = [columns, R];
  const ctx = image.getContext("2d");
  const data = ctx.createImageData(columns, R);
  const dots = new Uint32Array(data.data.buffer);
  const ink = Uint32Array.from(own.colours, (c) => rgbOf(c).reduce((sum, x, i) => sum + x * 256 ** i, 255 * 256 ** 3));
  for (let r = 0, i = 0; r < R; r++) {
    for (let c = 0; c < columns; c++, i++) {
      const place = placeOf(own, r, c);
      if (place >= 0) dots[i] = ink[place];
    }
  }
  ctx.putImageData(data, 0, 0);
  return image;
}

// ---- selection and pointer

function select(own, pick) {
  if (!own.picture) return;
  const { rows } = own.picture.meta;
  const before = own.sel.row;
  if (rows.kind === "token") {
    const column = own.picture.meta.across ? pick.row : pick.expert;
    own.sel = { row: pick.token ?? -1, column: column ?? -1, range: rangeOf(pick) };
    if (own.sel.row !== before) reveal(own, own.sel.row);
  } else if (rows.kind === "label") {
    own.sel = { row: pick.label ?? -1, column: pick.expert ?? -1 };
  } else {
    const row = pick.row ?? -1;
    const expert = own.picture.meta.across ? null : pick.expert;
    own.sel = { row, column: -1, cell: row >= 0 && expert != null ? [row, expert] : null };
  }
  draw(own);
}

function reveal(own, row) {
  const { g, view } = own;
  if (!g || row < 0) return;
  const y = row * g.rowHeight, room = g.height - g.head;
  if (y < view.scrollTop || y + g.rowHeight > view.scrollTop + room) view.scrollTop = Math.max(0, y - room / 2);
}

// What is under the pointer: {row, column}; row -1 is the head, column -1 the labels.
function under(own, event) {
  const { g, view } = own;
  const box = view.getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  const column = x < g.gutter ? -1 : Math.floor((x - g.gutter + view.scrollLeft) / g.cell);
  const row = y < g.head ? -1 : Math.floor((y - g.head + view.scrollTop) / g.rowHeight);
  const { meta } = own.picture;
  return column < meta.columns && row < meta.rows.labels.length ? { row, column } : null;
}

function rectOf(own, { row, column }) {
  const { g, view } = own;
  const box = view.getBoundingClientRect();
  const left = box.left + (column < 0 ? 0 : g.gutter + column * g.cell - view.scrollLeft);
  const width = column < 0 ? g.gutter : g.cell;
  const top = row < 0 ? box.top : box.top + g.head + row * g.rowHeight - view.scrollTop;
  const height = row < 0 ? g.head : g.rowHeight;
  return { left, width, top, bottom: top + height };
}

function listenToPointer(own) {
  own.view.onmousemove = (event) => {
    const cell = under(own, event);
    if (cell) explain(own, cell);
    else own.tip.hide();
  };
  own.view.onmouseleave = () => own.tip.hide();
  own.view.onblur = () => { own.tip.hide(); draw(own); };
  own.view.onmousedown = (event) => event.shiftKey && event.preventDefault(); // no blue text
  own.view.onclick = (event) => {
    const cell = under(own, event);
    if (cell) take(own, cell, event.shiftKey);
  };
  own.view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey || !own.zoomKeys) return;
    event.preventDefault();
    if (Math.abs(event.deltaY) > 2) zoom(own, event.deltaY > 0 ? -1 : 1);
  }, { passive: false });
}

function take(own, { row, column }, range = false) {
  const { rows, across: other } = own.picture.meta;
  const change = {};
  if (range && row >= 0 && rows.kind === "token") return chooseTo(own.component, row);
  if (other && column >= 0) [change.row, column] = [column, -1];
  if (row >= 0 && rows.kind === "token") change.token = row;
  if (row >= 0 && rows.kind === "layer") change.row = row;
  if (row >= 0 && rows.kind === "label") change.label = row;
  if (column >= 0) change.expert = column;
  if (row < 0 && rows.kind === "layer") return;
  if (row < 0 && column >= 0 && bus.pick.expert === column) change.expert = null; // again: let go
  if (Object.keys(change).length) choose(own.component, change);
}

function explain(own, cell) {
  const lines = wordsFor(own, cell);
  if (lines.length) own.tip.show(lines, null, rectOf(own, cell));
  else own.tip.hide();
}

function wordsFor(own, { row, column }) {
  const { meta, bars } = own.picture;
  if (row < 0 && column < 0) return [];
  if (row < 0) {
    const name = `${across(meta).name} ${columnLabel(meta, column)}`;
    if (!meta.bars) return [[name, "title"]];
    const { low, high, even } = meta.bars;
    return [[name, "title"], [`${percentText(bars[column])} of the layer's assignments`, ""], [`even ${percentText(even)}, chance ${percentText(low)} to ${percentText(high)}`, "soft"]];
  }
  const label = meta.rows.labels[row];
  const title = meta.rows.kind === "layer" ? `${meta.rows.name} ${label}` : label;
  if (column < 0) return [[title, "title"], ...(meta.rows.kind === "token" ? [[`token ${row + 1}`, "soft"]] : [])];
  return [[title, "title"], [placeWords(meta, row, column), "soft"], [valueWords(own, row, column), ""], ...choiceWords(own, row, column)].filter(([words]) => words);
}

function placeWords(meta, row, column) {
  if (meta.across && meta.rows.kind === "layer") return `${meta.across.name} ${columnLabel(meta, column)}`;
  if (meta.across) return `token ${row + 1}, layer ${columnLabel(meta, column)}, expert ${meta.fixed.expert}`;
  return meta.rows.kind === "token" ? `token ${row + 1}, layer ${meta.fixed.layer}, expert ${column}` : `expert ${column}`;
}

function valueWords(own, row, column) {
  const { meta, even } = own.picture;
  const v = valueAt(own, row, column);
  if (v === null) return "no such expert in this layer";
  if (meta.cell.unit === "yes") return ""; // what is chosen is said anyway
  const words = `${meta.cell.name}: ${cellText(meta, v)}`;
  if (own.picture.lift) return `${words}, ${liftWords(own, row * meta.columns + column)}`;
  if (own.picture.low) return `${words}, chance ${chanceText(own.picture, row * meta.columns + column)}`;
  if (own.picture.part) return `${words}, ${partWords(own.picture, row * meta.columns + column)}`;
  return even ? `${words}, ${(v / even[row]).toFixed(2)} × even` : words;
}

function cellText({ cell }, v) {
  if (cell.unit === "points") return `${v < 0 ? "−" : "+"}${Math.abs(100 * v).toFixed(1)} points`;
  return cell.unit === "%" ? percentText(v) : digits(v);
}

// Against the mean of all labels or what the picture names, and how far dealt labels reach.
function liftWords({ picture }, i) {
  const { against = "the mean" } = picture.meta;
  const chance = Number.isFinite(picture.low[i]) ? `; chance ${chanceText(picture, i)}` : "";
  return `${picture.lift[i].toFixed(2)} × ${against}${chance}`;
}

function chanceText({ meta, low, high }, i) {
  const [from, to] = [cellText(meta, low[i]), cellText(meta, high[i])];
  return from === to ? from : `${from} to ${to}`;
}

const partWords = ({ part, whole }, i) => `${part[i].toLocaleString("en")} of ${whole[i].toLocaleString("en")}`;

function choiceWords(own, row, column) {
  const { meta, experts, gates } = own.picture;
  if (!experts) return [];
  const mine = own.picture.own?.subarray(row * meta.own, (row + 1) * meta.own).includes(column);
  const also = own.picture.own ? [[mine ? meta.marks : `not ${meta.marks}`, "soft"]] : [];
  for (let k = 0; k < meta.chosen; k++) {
    const gate = gates ? `, gate ${digits(gates[row * meta.chosen + k])}` : "";
    if (experts[row * meta.chosen + k] === column) return [[(meta.across || !gates ? "chosen" : `choice ${k + 1}`) + gate, ""], ...also];
  }
  if (own.picture.left_out?.[row] === column) return [[`runner-up, ${digits(own.picture.behind[row], 2)} behind (${meta.units})`, ""]];
  return [["not chosen", "soft"], ...also];
}

function listenToMini(own) {
  const go = (event) => {
    const box = own.mini.getBoundingClientRect();
    const room = own.g.height - own.g.head;
    own.view.scrollTop = ((event.clientY - box.top) / box.height) * (own.g.full - own.g.head) - room / 2;
  };
  own.mini.onpointerdown = (event) => { own.mini.setPointerCapture(event.pointerId); go(event); };
  own.mini.onpointermove = (event) => event.buttons && go(event);
}

const MOVES = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1], PageDown: [20, 0], PageUp: [-20, 0], Home: [0, -1e6], End: [0, 1e6] };

function onKey(own, event) {
  const { meta } = own.picture;
  const at = own.cursor ?? [Math.max(0, own.sel.row ?? 0), Math.max(0, own.sel.column ?? 0)];
  if (event.key === "Escape") own.tip.hide();
  if (event.key === "Enter" || event.key === " ") {
    take(own, { row: at[0], column: at[1] }, event.shiftKey);
  } else if ((event.key === "+" || event.key === "-") && own.zoomKeys) {
    zoom(own, event.key === "+" ? 1 : -1);
  } else if (MOVES[event.key]) {
    const [dr, dc] = MOVES[event.key];
    const within = (x, n) => Math.min(n - 1, Math.max(0, x));
    own.cursor = own.cursor ? [within(at[0] + dr, meta.rows.labels.length), within(at[1] + dc, meta.columns)] : at;
    reveal(own, own.cursor[0]);
    draw(own);
    const cell = { row: own.cursor[0], column: own.cursor[1] };
    explain(own, cell);
    own.said.textContent = wordsFor(own, cell).map(([words]) => words).join(", ");
  } else return;
  event.preventDefault();
}
