// A text while it is written: the words, the experts of one step, and the load of prompt and rest.
// A packet brings only what is new; the steps before stay here, so going back needs no server.

const NOW = "now", PROMPT = "prompt", WRITTEN = "written";
const SIGNS = { "\t": "⇥\t", "\r": "␍", "\u00a0": "⍽" };
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g;

function newLive(root) {
  const own = { root, tokens: [], rows: [], at: null, row: 0, listen: () => {}, looks: new Map() };
  const page = el("div", "live");
  page.append(storyCard(own), nowCard(own), loadCard(own, PROMPT), loadCard(own, WRITTEN));
  root.replaceChildren(page);
  own.page = page;
  own.tip = tipFor(root);
  own.redraw = (canvas) => onPaper(canvas.clientWidth, canvas.clientHeight, (paper) => {
    const kind = [NOW, PROMPT, WRITTEN].find((name) => own[name].canvas === canvas);
    drawGrid(own, { ...own[kind], canvas: paper });
  });
  own.observer = new ResizeObserver(() => {
    page.classList.toggle("narrow", root.clientWidth < 860);
    if (own.fixed) drawGrids(own);
  });
  own.observer.observe(root);
  return own;
}

export default function (component) {
  const own = instanceOf(component, newLive);
  own.theme = themeOf(own.root);
  if (own.bytes !== component.data) {
    own.bytes = component.data;
    take(own, unpack(component.data));
  }
  if (own.fixed) draw(own);
  return () => forget(own);
}

// Add a packet to what is known; a gap (a lost packet) asks for everything again.
function take(own, picture) {
  const { meta } = picture;
  if (meta.since === 0) start(own, picture);
  else if (meta.key !== own.key || meta.since > own.tokens.length) return tellServer(own, { missing: true });
  meta.tokens.forEach((token, i) => {
    const n = meta.since + i;
    if (n >= own.tokens.length) write(own, n, token);
    own.tokens[n] = token;
  });
  const wide = own.fixed.meta.layers.length * own.fixed.meta.chosen;
  for (let i = 0; i * wide < picture.experts.length; i++) {
    const part = (array) => array.subarray(i * wide, (i + 1) * wide);
    own.rows[meta.since + i] = { experts: part(picture.experts), gates: part(picture.gates) };
  }
  [own.state, own.trace] = [meta.state, meta.trace];
}

function start(own, picture) {
  own.fixed = picture;
  const { meta } = picture;
  if (own.key === meta.key) return;
  [own.key, own.tokens, own.rows, own.row, own.at] = [meta.key, [], [], meta.row, meta.step];
  own.looks.clear();
  own.lines = [];
  newLine(own);
  own.units = meta.units.map((text, i) => place(own, text, "prompt", { unit: i }, meta.special.includes(i)));
  own.made = [];
  own.strip.replaceChildren(...own.lines);
  own.model.textContent = meta.model;
  layerButtons(own);
}

const tellServer = (own, pick) => own.component.setTriggerValue("pick", pick);

// ---- the words

function newLine(own) {
  const line = el("div");
  line.dir = "auto";
  own.lines.push(line);
  own.strip.append(line);
}

// Spans for a stretch of text; every line is a <div> that finds its own direction.
function place(own, text, kind, data, special = false) {
  const pieces = special ? [text] : text.split("\n");
  const spans = [];
  pieces.forEach((piece, p) => {
    const last = p === pieces.length - 1;
    if (piece || !last || (pieces.length === 1 && !text)) {
      const shown = piece.replace(/[\t\r\u00a0]/g, (c) => SIGNS[c]).replace(CONTROL, (c) => String.fromCharCode(c === "\u007f" ? 0x2421 : 0x2400 + c.charCodeAt(0)));
      const span = el("span", special ? `t mark ${kind}` : `t ${kind}`, shown || (last ? "⋯" : ""));
      if (!last) span.append(el("span", "sign", "↵"));
      Object.assign(span.dataset, data);
      own.lines.at(-1).append(span);
      spans.push(span);
    }
    if (!last) newLine(own);
  });
  return spans;
}

function write(own, n, token) {
  const follows = own.strip.scrollHeight - own.strip.scrollTop - own.strip.clientHeight < 40;
  own.made[n] = place(own, token.text, "made", { token: n });
  if (follows) own.strip.scrollTop = own.strip.scrollHeight;
}

const stepOf = (own) => Math.min(own.at ?? own.tokens.length - 1, own.tokens.length - 1);

// Expert that the row of a token gave its largest gate in the layer shown; -1 while it is unread.
function firstOf(own, n) {
  const row = own.rows[n + 1];
  return row ? row.experts[own.row * own.fixed.meta.chosen] : -1;
}

function topOf(own, unit) {
  const { meta, first, count, top } = own.fixed;
  return count[unit] ? top[own.row * meta.prompt + first[unit]] : -1;
}

function paintWords(own) {
  const step = stepOf(own), { places, meta } = own.fixed;
  const colours = (own.theme.dark ? meta.dark : meta.light).experts;
  const dress = (spans, expert, marks) => {
    const shade = expert < 0 ? 255 : places[own.row * meta.columns + expert];
    const look = `${own.theme.dark} ${shade} ${marks}`;
    for (const span of spans) {
      if (own.looks.get(span) === look) continue;
      own.looks.set(span, look);
      span.style.background = colours[shade] ?? "";
      span.style.color = shade === 255 ? "" : inkOn(colours[shade], own.theme.dark);
      for (const name of ["later", "wrote", "reads"]) span.classList.toggle(name, marks.includes(name));
    }
  };
  const lastUnit = own.units.findLastIndex((_, i) => own.fixed.count[i]);
  own.units.forEach((spans, i) => dress(spans, topOf(own, i), step <= 0 && i === lastUnit ? "reads" : ""));
  own.made.forEach((spans, n) => dress(spans, n < step || own.at === null ? firstOf(own, n) : -1, n > step ? "later" : n === step ? "wrote" : n === step - 1 ? "reads" : ""));
}

// ---- cards

function card(own, name, title) {
  const box = el("section", `card ${name}`);
  const head = el("div", "head");
  const heading = el("h3", "", title);
  const side = el("span", "model");
  head.append(heading, side);
  box.append(head);
  savable(own, box);
  return { box, heading, side };
}

function storyCard(own) {
  const { box, side } = card(own, "story", "The text as it is written");
  own.model = side;
  own.strip = el("div", "strip");
  own.strip.setAttribute("role", "document");
  own.strip.tabIndex = 0;
  own.strip.setAttribute("aria-label", "The text");
  own.chips = el("div", "chips");
  own.read = el("p", "read");
  own.layers = el("div", "layers");
  own.layers.setAttribute("role", "radiogroup");
  own.layers.setAttribute("aria-label", "Layer");
  box.append(transport(own), own.strip, own.layers, own.chips, own.read);
  own.strip.onclick = (event) => {
    const token = event.target.closest?.(".t")?.dataset.token;
    if (token !== undefined) goTo(own, Number(token));
  };
  own.strip.onmouseover = (event) => {
    const span = event.target.closest?.(".t");
    if (span) {
      const [lines, table] = tokenTip(own, span.dataset);
      own.tip.show(lines, table, span.getClientRects()[0] ?? span.getBoundingClientRect());
    } else own.tip.hide();
  };
  own.strip.onmouseleave = own.strip.onscroll = () => own.tip.hide();
  return box;
}

// Every layer in sight as a button.
function layerButtons(own) {
  const { layers } = own.fixed.meta;
  own.layerOf = layers.map((name, r) => {
    const button = el("button", "layer", name);
    button.setAttribute("role", "radio");
    button.setAttribute("aria-label", `Layer ${name}`);
    button.onclick = () => pickLayer(own, r);
    button.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = Math.min(layers.length - 1, Math.max(0, r + step));
      pickLayer(own, next);
      own.layerOf[next].focus();
      event.preventDefault();
    };
    return button;
  });
  refill(own.layers, [el("span", "name", "Layer"), ...own.layerOf]);
}

function transport(own) {
  const box = el("div", "transport unsaved");
  own.slider = el("input");
  own.slider.type = "range";
  own.slider.id = "steps";
  own.slider.min = 1;
  own.label = el("label");
  own.label.htmlFor = "steps";
  own.newest = el("button", "newest", "Newest");
  own.newest.onclick = () => goTo(own, null);
  own.slider.oninput = () => goTo(own, Number(own.slider.value) - 1);
  own.said = el("div", "said");
  own.said.setAttribute("aria-live", "polite");
  box.append(own.label, own.slider, own.newest, own.said);
  return box;
}

// Step n, or null to follow the newest. The server hears of it once the hand rests.
function goTo(own, n) {
  own.at = n !== null && n >= own.tokens.length - 1 && own.state !== "running" ? null : n;
  clearTimeout(own.soon);
  own.soon = setTimeout(() => tellServer(own, { step: own.at }), 250);
  draw(own);
  own.said.textContent = own.sentence.textContent;
}

function nowCard(own) {
  const { box, side } = card(own, NOW, "Experts of this step");
  own.stepName = side;
  own.sentence = el("p", "lead");
  own.sentence.dir = "auto";
  own.bars = el("div", "candidates");
  own[NOW] = grid(own, (r, c) => nowCell(own, r, c), (r, c) => nowWords(own, r, c));
  const read = el("p", "read", "Each row is one layer's router reading one token. Lit cells: the experts it chose, with their gates, the weights their outputs were multiplied by. Click a row to colour the text by that layer.");
  own.nowSheet = liveSheet("As a table", (file) => nowTable(own, file));
  box.append(own.sentence, own.bars, own[NOW].box, read, own.nowSheet.box);
  return box;
}

const LOADS = {
  [PROMPT]: ["Reading the prompt", "Prefill", "All prompt tokens, read in one pass. "],
  [WRITTEN]: ["Writing the rest", "Decode", "The tokens written, each read in a pass of its own. "],
};

function loadCard(own, kind) {
  const { box, side } = card(own, kind, LOADS[kind][0]);
  own[kind] = grid(own, (r, c) => loadCell(own, kind, r, c), (r, c) => loadWords(own, kind, r, c));
  own[kind].side = side;
  own[kind].foot = el("div", "foot");
  const read = el("p", "read", `${LOADS[kind][2]}Orange experts took more than their even share, blue less; a dot marks what is beyond chance: outside the middle 95 % of routers that choose at random.`);
  own[kind].sheet = liveSheet("As a table", (file) => loadTable(own, kind, file));
  box.append(own[kind].box, own[kind].foot, read, own[kind].sheet.box);
  return box;
}

// A table that is made when opened, and made anew while it is open and the text grows.
// make(file): whether it is for a file, where numbers stay numbers.
function liveSheet(name, make) {
  const box = el("details");
  const holder = el("div", "sheet");
  holder.tabIndex = 0;
  box.full = () => make(true);
  box.append(el("summary", "", name), holder, waysToSave(box, name));
  const refresh = () => box.open && refill(holder, [tableOf(make())]);
  box.ontoggle = refresh;
  return { box, refresh };
}

// ---- numbers

const slots = (own, row, layer) => {
  const { chosen } = own.fixed.meta;
  return Array.from({ length: chosen }, (_, k) => ({ expert: row.experts[layer * chosen + k], gate: row.gates[layer * chosen + k], k })).filter((s) => s.expert >= 0);
};

// {rows, counts [L * E]} of prompt or written tokens, up to the step shown.
function loadOf(own, kind) {
  const { meta, load } = own.fixed;
  if (kind === PROMPT) return { rows: own.rows.length ? meta.prompt : 0, counts: load };
  const end = own.at === null ? own.rows.length - 1 : stepOf(own);
  const counts = new Int32Array(meta.layers.length * meta.columns);
  for (let r = 1; r <= end; r++) {
    own.rows[r].experts.forEach((e, i) => e >= 0 && (counts[Math.floor(i / meta.chosen) * meta.columns + e] += 1));
  }
  return { rows: Math.max(0, end), counts };
}

// Counts between which 95 % of Binomial(n, p) lie: one expert's load when routers choose at random.
const bands = new Map();
function band(n, p) {
  const key = `${n} ${p}`;
  if (!bands.has(key)) bands.set(key, quantiles(n, p));
  return bands.get(key);
}

function quantiles(n, p) {
  if (p >= 1) return [n, n];
  let log = n * Math.log1p(-p), sum = 0, low = null;
  for (let k = 0; k <= n; k++) {
    sum += Math.exp(log);
    if (low === null && sum >= 0.025) low = k;
    if (sum >= 0.975) return [low, k];
    log += Math.log((n - k) / (k + 1)) + Math.log(p / (1 - p));
  }
  return [low ?? 0, n];
}

function shareOf(own, kind, r, c) {
  const { meta } = own.fixed;
  const found = own.loads[kind];
  const at = r * meta.columns;
  let sum = 0;
  for (let e = 0; e < meta.sizes[r]; e++) sum += found.counts[at + e];
  const count = found.counts[at + c];
  const [low, high] = band(found.rows, meta.choices[r] / meta.sizes[r]);
  return { count, sum, share: sum ? count / sum : NaN, even: 1 / meta.sizes[r], low, high };
}

function loadCell(own, kind, r, c) {
  if (!own.loads[kind].rows) return { place: -1 };
  const { share, even, count, low, high } = shareOf(own, kind, r, c);
  return { scale: "even", place: 0.5 + Math.log2(Math.max(share / even, 1e-6)) / 4, dot: count < low || count > high };
}

function loadWords(own, kind, r, c) {
  const { layers } = own.fixed.meta;
  const lines = [[`Layer ${layers[r]}, expert ${c}`, "title"]];
  if (!own.loads[kind].rows) return [[...lines, ["nothing read yet", "soft"]]];
  const { count, sum, share, even, low, high } = shareOf(own, kind, r, c);
  return [lines, { rows: [["assignments", `${count} of ${sum}`], ["share", percentText(share)], ["even share", percentText(even)], ["chance", `${low} to ${high}`]] }];
}

function loadTable(own, kind, file) {
  const { meta } = own.fixed;
  const cells = (r) => Array.from({ length: meta.columns }, (_, c) => (c < meta.sizes[r] ? own.loads[kind].counts[r * meta.columns + c] : null));
  const chance = (r) => band(own.loads[kind].rows, meta.choices[r] / meta.sizes[r]);
  const head = ["Layer", ...Array.from({ length: meta.columns }, (_, c) => String(c)), ...(file ? ["Chance from", "Chance to"] : ["Chance"])];
  return { head, rows: meta.layers.map((name, r) => [numeric(name), ...cells(r), ...(file ? chance(r) : [chance(r).join(" to ")])]) };
}

function nowCell(own, r, c) {
  const row = own.rows[stepOf(own)];
  const chosen = row && slots(own, row, r);
  const mine = chosen?.find((s) => s.expert === c);
  if (!mine) return { scale: "heat", place: 0 };
  const sum = chosen.reduce((s, x) => s + Math.abs(x.gate), 0) || 1;
  return { scale: "heat", place: 0.35 + 0.65 * (Math.abs(mine.gate) / sum), text: gateText(mine.gate) };
}

function nowWords(own, r, c) {
  const row = own.rows[stepOf(own)];
  const mine = row && slots(own, row, r).find((s) => s.expert === c);
  return [[[`Layer ${own.fixed.meta.layers[r]}, expert ${c}`, "title"], mine ? [`choice ${mine.k + 1}, gate ${digits(mine.gate)}`, ""] : ["not chosen", "soft"]]];
}

function nowTable(own, file) {
  const { meta } = own.fixed;
  const row = own.rows[stepOf(own)];
  const rows = meta.layers.map((name, r) => [numeric(name), ...Array.from({ length: meta.chosen }, (_, k) => {
    const slot = row && slots(own, row, r).find((s) => s.k === k);
    if (file) return [slot?.expert, slot?.gate];
    return slot ? `${slot.expert}: ${digits(slot.gate)}` : "none";
  }).flat()]);
  return { head: ["Layer", ...choiceNames(meta.chosen, file)], rows };
}

// ---- grids of layers by experts

function grid(own, cell, words) {
  const box = el("div", "holder");
  const canvas = el("canvas");
  box.append(canvas);
  box.tabIndex = 0;
  box.setAttribute("role", "application");
  const g = { box, canvas, cell, words, cursor: null };
  const show = (at) => {
    const rect = canvas.getBoundingClientRect();
    const x = rect.left + g.gutter + (at[1] + 0.5) * g.wide, y = rect.top + g.head + at[0] * g.high;
    const told = words(at[0], at[1]);
    own.tip.show(told[0], told[1], { left: x, width: 0, top: y, bottom: y + g.high });
    return told;
  };
  box.onmousemove = (event) => {
    const at = under(g, event, own);
    if (at) show(at);
    else own.tip.hide();
  };
  box.onmouseleave = box.onblur = () => { g.cursor = null; own.tip.hide(); drawGrid(own, g); };
  box.onclick = (event) => {
    const at = under(g, event, own, true);
    if (at) pickLayer(own, at[0]);
  };
  box.onkeydown = (event) => {
    const move = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
    if (event.key === "Enter" && g.cursor) pickLayer(own, g.cursor[0]);
    else if (move) {
      const { layers, columns } = own.fixed.meta;
      const within = (x, n) => Math.min(n - 1, Math.max(0, x));
      g.cursor = g.cursor ? [within(g.cursor[0] + move[0], layers.length), within(g.cursor[1] + move[1], columns)] : [own.row, 0];
      drawGrid(own, g);
      const [lines, table] = show(g.cursor);
      own.said.textContent = [...lines.map((l) => l[0]), ...(table?.rows ?? []).map((r) => r.join(" "))].join(", ");
    } else return;
    event.preventDefault();
  };
  return g;
}

function under(g, event, own, gutterToo = false) {
  const rect = g.canvas.getBoundingClientRect();
  const r = Math.floor((event.clientY - rect.top - g.head) / g.high);
  const c = Math.floor((event.clientX - rect.left - g.gutter) / g.wide);
  const { layers, columns } = own.fixed.meta;
  return r >= 0 && r < layers.length && c < columns && (c >= 0 || gutterToo) ? [r, Math.max(0, c)] : null;
}

function pickLayer(own, r) {
  own.row = r;
  tellServer(own, { row: r });
  draw(own);
}

function drawGrid(own, g) {
  const { meta } = own.fixed;
  const room = g.box.clientWidth;
  if (!room) return;
  const L = meta.layers.length, E = meta.columns;
  g.high = L <= 12 ? 24 : L <= 26 ? 17 : 12;
  g.head = 20;
  g.gutter = 8 + 8 * Math.max(...meta.layers.map((name) => name.length), 5);
  g.wide = Math.min(46, (room - g.gutter - 1) / E);
  const ratio = window.devicePixelRatio || 1, height = g.head + L * g.high + 2;
  const width = Math.ceil(g.gutter + g.wide * E + 1);
  if (g.canvas.width !== Math.round(width * ratio) || g.canvas.height !== Math.round(height * ratio)) {
    [g.canvas.width, g.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    Object.assign(g.canvas.style, { width: `${width}px`, height: `${height}px` });
  }
  const ctx = g.canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  const scales = own.theme.dark ? meta.dark : meta.light;
  for (let r = 0; r < L; r++) for (let c = 0; c < meta.sizes[r]; c++) drawCell(own, g, ctx, scales, r, c);
  drawNames(own, g, ctx);
}

function drawCell(own, g, ctx, scales, r, c) {
  const { scale, place, text, dot } = g.cell(r, c);
  const x = Math.round(g.gutter + c * g.wide), next = Math.round(g.gutter + (c + 1) * g.wide), y = g.head + r * g.high;
  const colours = scales[scale ?? "even"];
  const ink = place < 0 ? scales.heat[0] : colours[Math.round(Math.min(1, Math.max(0, place)) * (colours.length - 1))];
  ctx.fillStyle = ink;
  ctx.fillRect(x, y, next - x - (g.wide >= 9 ? 1 : 0), g.high - 1);
  ctx.fillStyle = inkOn(ink, own.theme.dark);
  const middle = [(x + next - 1) / 2, y + (g.high - 1) / 2];
  if (text && g.wide >= 20 && g.high >= 16) {
    Object.assign(ctx, { font: `600 ${g.wide >= 25 ? 11 : 10}px ${own.theme.font}`, textAlign: "center", textBaseline: "middle" });
    ctx.fillText(text, middle[0], middle[1] + 0.5);
  }
  if (!dot || g.wide < 4) return;
  ctx.beginPath();
  ctx.arc(...middle, Math.max(1.1, Math.min(2.6, g.wide / 6)), 0, 2 * Math.PI);
  ctx.fill();
}

function drawNames(own, g, ctx) {
  const { meta } = own.fixed;
  Object.assign(ctx, { fillStyle: own.theme.text, textBaseline: "middle", textAlign: "right" });
  const every = [1, 2, 4, 5, 8, 10, 16, 20, 32, 64].find((n) => n * g.wide >= 21) ?? 64;
  ctx.font = `12px ${own.theme.font}`;
  ctx.globalAlpha = 0.72;
  ctx.fillText("Expert", g.gutter - 8, 9);
  ctx.textAlign = "center";
  for (let c = 0; c < meta.columns; c += every) ctx.fillText(String(c), g.gutter + (c + 0.5) * g.wide, 9);
  ctx.textAlign = "right";
  meta.layers.forEach((name, r) => {
    const on = r === own.row;
    if (g.high < 16 && !on && r % 2) return;
    ctx.globalAlpha = on ? 1 : 0.78;
    ctx.font = `${on ? 700 : 400} ${g.high < 16 ? 11 : 13}px ${own.theme.font}`;
    ctx.fillText(name, g.gutter - 8, g.head + (r + 0.5) * g.high);
  });
  ctx.globalAlpha = 1;
  ctx.strokeStyle = own.theme.text;
  ctx.lineWidth = 1.5;
  ctx.strokeRect(g.gutter - 1, g.head + own.row * g.high - 1, g.wide * meta.sizes[own.row] + 1, g.high + 1);
  if (!g.cursor) return;
  ctx.strokeStyle = own.theme.accent;
  ctx.lineWidth = 2.5;
  ctx.strokeRect(g.gutter + g.cursor[1] * g.wide - 0.5, g.head + g.cursor[0] * g.high - 0.5, g.wide, g.high);
}

// ---- drawing all of it

function draw(own) {
  const step = stepOf(own), count = own.tokens.length, { meta } = own.fixed;
  own.loads = { [PROMPT]: loadOf(own, PROMPT), [WRITTEN]: loadOf(own, WRITTEN) };
  paintWords(own);
  own.slider.max = Math.max(1, count);
  own.slider.value = step + 1;
  own.slider.disabled = count < 2;
  own.label.textContent = count ? `Step ${step + 1} of ${count}` : "No step yet";
  own.newest.hidden = own.at === null;
  own.read.textContent = `Underlined: the prompt. The rest was written token by token. Colour: the expert a token gave its largest gate in layer ${meta.layers[own.row]}; the newest is uncoloured until it is read. Drag the slider or click a word to go back to the step that wrote it.`;
  refill(own.chips, chipsOf(own, step));
  own.layerOf.forEach((button, r) => {
    button.setAttribute("aria-checked", String(r === own.row));
    button.tabIndex = r === own.row ? 0 : -1;
  });
  own.stepName.textContent = count ? `step ${step + 1}` : "";
  sayStep(own, step);
  drawGrids(own);
  own.nowSheet.refresh();
  for (const kind of [PROMPT, WRITTEN]) {
    const { rows } = own.loads[kind];
    own[kind].side.textContent = `${LOADS[kind][1]}, ${rows.toLocaleString("en")} token${rows === 1 ? "" : "s"}`;
    refill(own[kind].foot, [scaleBar((own.theme.dark ? meta.dark : meta.light).even, "Share of assignments", ["¼ of even", "even", "4 × even"])]);
    own[kind].sheet.refresh();
  }
  Object.assign(own.root.dataset, { key: own.trace, count, step: step + 1, rows: own.rows.length, state: own.state, layer: meta.layers[own.row], following: own.at === null });
}

function drawGrids(own) {
  if (!own.loads) return;
  for (const kind of [NOW, PROMPT, WRITTEN]) drawGrid(own, own[kind]);
}

function shown(text) {
  return text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll(" ", "·") || "⋯";
}

function word(text) {
  const box = el("bdi", "word", shown(text));
  box.dir = "auto";
  return box;
}

function readAt(own, step) {
  if (step > 0) return own.tokens[step - 1].text;
  const last = own.fixed.meta.units.findLastIndex((_, i) => own.fixed.count[i]);
  return own.fixed.meta.units[last] ?? "";
}

function sayStep(own, step) {
  const token = own.tokens[step];
  if (!token) {
    own.sentence.textContent = "Reading the prompt…";
    return refill(own.bars, []);
  }
  refill(own.sentence, [
    document.createTextNode(step ? "Read " : "Read the prompt up to "), word(readAt(own, step)),
    document.createTextNode(" and wrote "), word(token.text),
    document.createTextNode(`, which had ${percentText(token.odds)} of the model's probability.`),
  ]);
  const mine = token.likeliest.findIndex(([text, odds]) => text === token.text && Math.abs(odds - token.odds) < 1e-6);
  const rows = token.likeliest.map(([text, odds], i) => candidate(text, odds, i === mine));
  if (mine < 0) rows.push(candidate(token.text, token.odds, true));
  refill(own.bars, [el("div", "name", "Likeliest next tokens"), ...rows]);
}

function candidate(text, odds, mine) {
  const row = el("div", mine ? "candidate mine" : "candidate");
  const bar = el("span", "bar");
  bar.style.setProperty("--share", odds);
  row.append(word(text), bar, el("span", "odds", percentText(odds)), el("span", "pen", mine ? "written" : ""));
  return row;
}

function tokenTip(own, { token, unit }) {
  if (unit !== undefined) {
    const i = Number(unit), expert = topOf(own, i);
    return [[[shown(own.fixed.meta.units[i]), "title"], ["prompt", "soft"], [expert < 0 ? "no expert" : `layer ${own.fixed.meta.layers[own.row]}: first choice expert ${expert}`, ""]]];
  }
  const n = Number(token), row = own.rows[n + 1];
  const lines = [[shown(own.tokens[n].text), "title"], [`written in step ${n + 1}, id ${own.tokens[n].id}`, "soft"], [`probability ${percentText(own.tokens[n].odds)}, ${digits(-Math.log(own.tokens[n].odds), 2)} nats`, ""]];
  if (!row) return [[...lines, ["not read yet", "soft"]]];
  return [lines, { head: [`layer ${own.fixed.meta.layers[own.row]}`, "gate"], rows: slots(own, row, own.row).map((s) => [`expert ${s.expert}`, digits(s.gate)]) }];
}

// First choices in the layer shown, of all tokens up to this step.
function chipsOf(own, step) {
  const { meta, places } = own.fixed;
  const counts = new Map();
  const count = (e) => e >= 0 && counts.set(e, (counts.get(e) ?? 0) + 1);
  for (let t = 0; t < meta.prompt && own.rows.length; t++) count(own.fixed.top[own.row * meta.prompt + t]);
  own.tokens.forEach((_, n) => (n < step || own.at === null) && count(firstOf(own, n)));
  const total = [...counts.values()].reduce((a, b) => a + b, 0);
  const colours = (own.theme.dark ? meta.dark : meta.light).experts;
  const order = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  const chips = order.slice(0, 16).map(([e, n]) => {
    const chip = el("span", "chip");
    chip.append(el("b", "", String(e)), percentText(n / total));
    chip.title = `Expert ${e} is first choice of ${n} of ${total} tokens`;
    const colour = colours[places[own.row * meta.columns + e]];
    if (colour) Object.assign(chip.style, { background: colour, color: inkOn(colour, own.theme.dark) });
    return chip;
  });
  const more = order.length > 16 ? [el("span", "", `and ${order.length - 16} more experts`)] : [];
  return total ? [el("span", "name", "First choice of"), ...chips, ...more] : [];
}
