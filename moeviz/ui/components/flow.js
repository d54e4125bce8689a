// Ribbons from layer to layer: rows of blocks as wide as their tokens, drawn once per picture.

const EDGE = { top: 8, left: 44, right: 6, bottom: 8 }, BLOCK = 17;

function newFlow(root) {
  const own = { root, at: null };
  figureCard(own);
  own.foot.hidden = true;
  own.listen = () => own.picture && mark(own);
  own.observer = new ResizeObserver(() => own.picture && draw(own));
  own.observer.observe(own.holder);
  listenTo(own);
  return own;
}

export default function (component) {
  const own = instanceOf(component, newFlow);
  if (own.bytes !== component.data) {
    own.bytes = component.data;
    own.picture = unpack(component.data);
    own.at = null;
  }
  own.theme = themeOf(own.root);
  own.colours = own.theme.dark ? own.picture.meta.dark : own.picture.meta.light;
  write(own);
  draw(own);
  const { meta } = own.picture;
  Object.assign(own.root.dataset, { key: meta.key, flow: own.picture.row.length, place: meta.place });
  return () => forget(own);
}

function write(own) {
  const { meta } = own.picture;
  refill(own.headBox, [el("h3", "", meta.title), el("span", "model", [meta.model, meta.place].join(", "))]);
  refill(own.facts, meta.facts.map(factOf));
  howToRead(own.read, meta.told);
  own.holder.setAttribute("aria-label", `${meta.title}, ${meta.place}: ${meta.layers.length} layers. Arrow keys move, Enter picks.`);
  refill(own.sheets, [sheet("As a table", () => table(own), false)]);
}

function table(own) {
  const { meta, row, source, target, tokens, expected } = own.picture;
  const rows = [...row].map((r, i) => [`${meta.layers[r]} to ${meta.layers[r + 1]}`, String(source[i]), String(target[i]), tokens[i].toLocaleString("en"), expected[i].toFixed(1)]);
  const full = () => ({
    head: ["From layer", "To layer", "From expert", "To expert", "Tokens", "By chance"],
    rows: [...row].map((r, i) => [numeric(meta.layers[r]), numeric(meta.layers[r + 1]), source[i], target[i], tokens[i], expected[i]]),
  });
  return { head: ["Layers", "From expert", "To expert", "Tokens", "By chance"], rows, full };
}

// ---- geometry

// For each layer the blocks {expert, x, wide}, by expert; none for experts without tokens.
function blocksOf(own, width) {
  const { meta, counts } = own.picture;
  const E = meta.experts, room = width - EDGE.left - EDGE.right;
  return meta.layers.map((_, r) => {
    const here = [];
    for (let e = 0; e < E; e++) if (counts[r * E + e]) here.push({ row: r, expert: e, tokens: counts[r * E + e] });
    const total = here.reduce((sum, b) => sum + b.tokens, 0);
    const gap = Math.min(5, (0.3 * room) / here.length);
    let x = EDGE.left;
    for (const block of here) {
      block.x = x;
      block.wide = (block.tokens / total) * (room - gap * (here.length - 1));
      x += block.wide + gap;
    }
    return here;
  });
}

// The two ends of every ribbon: side by side on their blocks, in the order of the other end.
function ribbonsOf(own) {
  const { row, source, target, tokens } = own.picture;
  const used = new Map();
  const end = (i, side, r, expert) => {
    const block = own.find(r, expert);
    const name = `${side} ${r} ${expert}`, from = used.get(name) ?? 0;
    used.set(name, from + tokens[i]);
    return [block.x + (from / block.tokens) * block.wide, block.x + ((from + tokens[i]) / block.tokens) * block.wide];
  };
  const all = [...row.keys()];
  const ends = all.map(() => ({}));
  for (const i of [...all].sort((a, b) => target[a] - target[b])) ends[i].above = end(i, "above", row[i], source[i]);
  for (const i of [...all].sort((a, b) => source[a] - source[b])) ends[i].below = end(i, "below", row[i] + 1, target[i]);
  return ends;
}

// ---- drawing

function draw(own) {
  const width = own.holder.clientWidth;
  if (!width) return;
  const { meta, row } = own.picture;
  own.pitch = meta.layers.length <= 8 ? 84 : 56;
  own.blocks = blocksOf(own, width);
  const places = own.blocks.map((row) => new Map(row.map((b) => [b.expert, b])));
  own.find = (r, expert) => places[r]?.get(expert);
  const height = EDGE.top + (meta.layers.length - 1) * own.pitch + BLOCK + EDGE.bottom;
  const paper = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const ends = ribbonsOf(own);
  own.ribbons = [...row.keys()].map((i) => ribbonMark(own, i, ends[i]));
  const { tokens } = own.picture;
  paper.append(...[...own.ribbons].sort((a, b) => tokens[a.dataset.ribbon] - tokens[b.dataset.ribbon]));
  own.marks = [];
  for (const blocks of own.blocks) for (const block of blocks) paper.append(...blockMark(own, block));
  meta.layers.forEach((label, r) => paper.append(svg("text", { x: EDGE.left - 9, y: yOf(own, r) + 13, class: "tick end", "data-layer": r }, label)));
  own.over = svg("g", { class: "over" });
  paper.append(own.over);
  own.holder.replaceChildren(paper);
  mark(own);
}

const yOf = (own, r) => EDGE.top + r * own.pitch;
const placeAt = (own, r, e) => own.picture.place[r * own.picture.meta.experts + e];

function ribbonMark(own, i, { above, below }) {
  const { row, source } = own.picture;
  const top = yOf(own, row[i]) + BLOCK, bottom = yOf(own, row[i] + 1), middle = (top + bottom) / 2;
  const [a, b] = above, [c, d] = below;
  const path = `M${a} ${top}C${a} ${middle} ${c} ${middle} ${c} ${bottom}L${d} ${bottom}C${d} ${middle} ${b} ${middle} ${b} ${top}Z`;
  return svg("path", { d: path, class: "ribbon", fill: own.colours[placeAt(own, row[i], source[i])] ?? own.theme.line, "data-ribbon": i });
}

function blockMark(own, block) {
  const colour = own.colours[placeAt(own, block.row, block.expert)] ?? own.theme.line;
  const y = yOf(own, block.row);
  const rect = svg("rect", { x: block.x, y, width: Math.max(0.8, block.wide), height: BLOCK, rx: Math.min(3, block.wide / 3), fill: colour, class: "block", "data-row": block.row, "data-expert": block.expert });
  own.marks.push({ block, rect });
  block.named = block.wide >= 9 * String(block.expert).length;
  if (!block.named) return [rect];
  return [rect, svg("text", { x: block.x + block.wide / 2, y: y + 12.5, class: "name mid", style: `fill: ${inkOn(colour, own.theme.dark)}` }, String(block.expert))];
}

// The picked expert with its ribbons before the others, and the picked token's own way.
function mark(own) {
  if (!own.marks) return;
  const { row, expert, token } = bus.pick;
  const { row: rows, source, target } = own.picture;
  const chosen = expert != null && own.find(row, expert);
  own.ribbons.forEach((path, i) => {
    const touches = chosen && ((rows[i] === row && source[i] === expert) || (rows[i] + 1 === row && target[i] === expert));
    path.classList.toggle("dim", Boolean(chosen) && !touches);
  });
  for (const { block, rect } of own.marks) rect.classList.toggle("on", Boolean(chosen) && block === chosen);
  for (const label of own.holder.querySelectorAll("[data-layer]")) label.classList.toggle("on", Number(label.dataset.layer) === row);
  own.over.replaceChildren(...wayOf(own, token), ...cursorOf(own));
}

function wayOf(own, token) {
  const { meta, first } = own.picture;
  const T = first.length / meta.layers.length, t = token - meta.from;
  if (token == null || t < 0 || t >= T) return [];
  const points = meta.layers.map((_, r) => {
    const block = own.find(r, first[r * T + t]);
    return block && [block.x + block.wide / 2, yOf(own, r)];
  });
  const marks = [];
  let line = "";
  points.forEach((point, r) => {
    if (!point) return;
    const [x, y] = point, before = points[r - 1];
    const middle = y - (own.pitch - BLOCK) / 2;
    const named = before && own.find(r - 1, first[(r - 1) * T + t]).named; // leave the number legible
    line += before ? `${named ? "M" : "L"}${before[0]} ${before[1] + BLOCK}C${before[0]} ${middle} ${x} ${middle} ${x} ${y}` : `M${x} ${y}`;
  });
  marks.push(svg("path", { d: line, class: "way" }));
  return marks;
}

function cursorOf(own) {
  const block = own.at && own.find(...own.at);
  if (!block || !own.holder.matches(":focus")) return [];
  return [svg("rect", { x: block.x - 2, y: yOf(own, block.row) - 2, width: block.wide + 4, height: BLOCK + 4, rx: 4, class: "cursor" })];
}

// ---- pointer and keys

function listenTo(own) {
  own.holder.onmousemove = (event) => {
    const found = thingOf(own, event.target);
    if (found) own.tip.show(found.lines, null, { left: event.clientX, width: 0, top: event.clientY - 6, bottom: event.clientY + 6 });
    else own.tip.hide();
  };
  own.holder.onmouseleave = own.holder.onscroll = () => own.tip.hide();
  own.holder.onblur = () => { own.tip.hide(); own.picture && mark(own); };
  own.holder.onclick = (event) => {
    const found = thingOf(own, event.target);
    if (found) choose(own.component, found.pick);
  };
  own.holder.onkeydown = (event) => onKey(own, event);
}

// What a mark stands for: the words to show and the expert that a click opens.
function thingOf(own, node) {
  const { meta, row, source, target } = own.picture;
  const { ribbon, row: r, expert } = node.dataset ?? {};
  if (ribbon !== undefined) return { lines: ribbonWords(own, ribbon), pick: { row: row[ribbon] + 1, expert: target[ribbon] } };
  if (expert !== undefined) return { lines: blockWords(own, Number(r), Number(expert)), pick: { row: Number(r), expert: Number(expert) } };
  return null;
}

function ribbonWords(own, i) {
  const { meta, row, source, target, tokens, expected } = own.picture;
  return [
    [`Layer ${meta.layers[row[i]]} expert ${source[i]} → layer ${meta.layers[row[i] + 1]} expert ${target[i]}`, "title"],
    [`${tokens[i].toLocaleString("en")} tokens`, ""],
    [`${expected[i].toFixed(1)} if the layers chose independently`, "soft"],
  ];
}

function blockWords(own, r, expert) {
  const { meta } = own.picture;
  const { tokens } = own.find(r, expert);
  const total = own.blocks[r].reduce((sum, b) => sum + b.tokens, 0);
  return [[`Layer ${meta.layers[r]}, expert ${expert}`, "title"], [`${meta.first} ${tokens.toLocaleString("en")} tokens, ${percentText(tokens / total)}`, ""]];
}

function onKey(own, event) {
  const step = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1], Home: [0, -1e6], End: [0, 1e6] }[event.key];
  if (event.key === "Escape") return own.tip.hide();
  if ((event.key === "Enter" || event.key === " ") && own.at) choose(own.component, { row: own.at[0], expert: own.at[1] });
  else if (step) move(own, ...step);
  else return;
  event.preventDefault();
}

// To the neighbour in the layer, or to the block of the next layer that stands closest.
function move(own, down, right) {
  const within = (x, n) => Math.min(n - 1, Math.max(0, x));
  const start = own.at ?? [bus.pick.row ?? 0, bus.pick.expert];
  const here = own.find(...start) ?? own.blocks[start[0]]?.[0] ?? own.blocks[0][0];
  const r = within(here.row + (own.at ? down : 0), own.blocks.length), blocks = own.blocks[r];
  const middle = here.x + here.wide / 2;
  const near = blocks.reduce((best, b, i) => (Math.abs(b.x + b.wide / 2 - middle) < Math.abs(blocks[best].x + blocks[best].wide / 2 - middle) ? i : best), 0);
  const block = blocks[within((r === here.row ? blocks.indexOf(here) : near) + (own.at ? right : 0), blocks.length)];
  own.at = [block.row, block.expert];
  mark(own);
  const y = yOf(own, r), { holder } = own;
  if (y < holder.scrollTop || y + BLOCK > holder.scrollTop + holder.clientHeight) holder.scrollTop = y - holder.clientHeight / 2;
  const lines = blockWords(own, ...own.at);
  const box = holder.getBoundingClientRect(), top = box.top + y - holder.scrollTop;
  own.tip.show(lines, null, { left: box.left + block.x, width: block.wide, top, bottom: top + BLOCK });
  own.said.textContent = lines.map(([words]) => words).join(", ");
}
