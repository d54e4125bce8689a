// Taking a figure home: as PNG, SVG or a page of its own, made here from what is on screen.
//
// A component calls `savable(own, card)` once, when it makes its card. Everything in the card is
// then drawn again as SVG: boxes, words, scales and inner SVG as they are. A canvas becomes the
// picture it shows, unless `own.redraw(canvas)` gives a better one (see `onPaper`) or null for none.
// What has the class `unsaved`, such as a button, is left out.
// Words stay words: no text is ever read as markup.

const { savable, waysToSave, onPaper, pageText, download, SAVED_FONT } = (() => {

const SAVED_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
const SHARP = 2; // pixels of a PNG per pixel of the page ...
const LONGEST = 16000; // ... but no side longer than this: browsers draw no larger canvas

function savable(own, card) {
  const menu = el("details", "save");
  const name = el("summary", "", "Save");
  name.title = "Save this figure";
  const list = el("div", "ways");
  const close = () => { menu.open = false; };
  for (const [label, way] of [["PNG", savePng], ["SVG", saveSvg], ["HTML", saveHtml]]) {
    const button = el("button", "", label);
    button.onclick = async () => { close(); name.focus(); await way(own, card); };
    list.append(button);
  }
  menu.append(name, list);
  menu.onkeydown = (event) => { if (event.key === "Escape") { close(); name.focus(); } };
  menu.onfocusout = (event) => { if (!menu.contains(event.relatedTarget)) close(); };
  card.classList.add("savable");
  card.append(menu);
  bus.figures ??= new WeakMap(); // for a hand-out of the whole page
  const others = bus.figures.get(own.root) ?? (() => []); // cards of the same component
  bus.figures.set(own.root, () => [...others(), ...figureOf(own, card)]);
}

// The figure and its tables, as nodes that need nothing from the page.
function figureOf(own, card) {
  const sheets = [...card.querySelectorAll("details")].filter((box) => box.full).map((box) => {
    const details = el("details");
    details.append(el("summary", "", box.querySelector("summary").textContent), tableOf(box.full()));
    return details;
  });
  return [svgOf(own, card), ...sheets];
}

function download(blob, name) {
  const link = el("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// "moeviz-all-layers-expert-by-expert-1a2b3c4d.png"
function fileName(node, title, ending) {
  const words = title.toLowerCase().normalize("NFKD").replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  return ["moeviz", words, keyOf(node)].filter(Boolean).join("-") + ending;
}

const titleOf = (card) => card.querySelector("h3")?.textContent ?? "figure";
const keyOf = (node) => /^[0-9a-f]{8}/.exec(node.closest(".root").dataset.key)?.[0]; // a toy's is no trace

async function saveSvg(own, card) {
  download(new Blob([svgText(own, card)], { type: "image/svg+xml" }), fileName(card, titleOf(card), ".svg"));
}

async function savePng(own, card) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgText(own, card))}`;
  await image.decode();
  const scale = Math.min(SHARP, LONGEST / Math.max(image.width, image.height));
  const canvas = el("canvas");
  [canvas.width, canvas.height] = [image.width, image.height].map((x) => Math.round(x * scale));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  download(blob, fileName(card, titleOf(card), ".png"));
}

async function saveHtml(own, card) {
  const text = pageText(titleOf(card), themeOf(own.root), figureOf(own, card));
  download(new Blob([text], { type: "text/html;charset=utf-8" }), fileName(card, titleOf(card), ".html"));
}

// A page of these nodes that asks for nothing from anywhere.
function pageText(title, ground, nodes) {
  const page = document.implementation.createHTMLDocument(`${title} · MoEViz`);
  const facts = { charset: "utf-8", "http-equiv": "Content-Security-Policy", name: "viewport" };
  const contents = { "http-equiv": "default-src 'none'; style-src 'unsafe-inline'; img-src data:", name: "width=device-width" };
  page.head.replaceChildren(...Object.entries(facts).map(([kind, value]) => {
    const meta = el("meta");
    meta.setAttribute(kind, value);
    if (contents[kind]) meta.setAttribute("content", contents[kind]);
    return meta;
  }), page.head.querySelector("title"), el("style", "", `
    body { margin: 24px; background: ${ground.ground}; color: ${ground.text}; font: 14px/1.5 ${SAVED_FONT}; color-scheme: ${ground.dark ? "dark" : "light"}; }
    svg { max-width: 100%; height: auto; display: block; }
    details { margin-top: 16px; } summary { cursor: pointer; }
    table { border-collapse: collapse; margin-top: 8px; font-variant-numeric: tabular-nums; }
    th, td { text-align: left; padding: 3px 12px 3px 0; white-space: pre; }
    .handout { max-width: 960px; margin: auto; font-size: 16px; } .handout > svg { margin: 16px 0; }
    .handout td, .handout th { white-space: normal; border-bottom: 1px solid #8884; vertical-align: top; }`));
  page.body.append(...nodes);
  return `<!doctype html>\n${page.documentElement.outerHTML}`;
}

// Buttons that save the table in `box`, all of it: numbers as numbers.
function waysToSave(box, name) {
  const ways = el("div");
  for (const [label, ending, blobOf] of [["CSV", ".csv", csvOf], ["Parquet", ".parquet", (table) => new Blob([parquetOf(table)])]]) {
    const button = el("button", "link", `Save as ${label}`);
    button.onclick = () => download(blobOf(box.full()), fileName(box, `${titleOf(box.closest(".card, .root"))} ${name}`, ending));
    ways.append(button);
  }
  return ways;
}

// For spreadsheets: commas, quotes where needed, and a mark that it is UTF-8.
function csvOf({ head, rows }) {
  const cell = (x) => {
    const text = cellWord(x);
    const tame = /^[=+@\t\r]|^-(?![\d.])/.test(text) ? `'${text}` : text; // not a formula
    return /[",\r\n]/.test(tame) ? `"${tame.replaceAll('"', '""')}"` : tame;
  };
  const lines = [head, ...rows].map((cells) => cells.map(cell).join(","));
  return new Blob(["\ufeff", lines.join("\r\n"), "\r\n"], { type: "text/csv;charset=utf-8" });
}

// ---- the card as SVG

const svgText = (own, card) => new XMLSerializer().serializeToString(svgOf(own, card));

// Lays a copy of the card out in a font that every machine has, and draws it piece by piece.
function svgOf(own, card) {
  const { copy, papers } = copyOf(own, card);
  own.root.append(copy);
  try {
    const box = copy.getBoundingClientRect();
    const [width, height] = [Math.ceil(box.width), Math.ceil(box.height)];
    const paper = svg("svg", { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}`, "font-family": SAVED_FONT });
    const words = svg("g"); // above all boxes: a token's box must not cover its neighbour's words
    const pen = { paper, words, x: box.left, y: box.top, papers, run: null, count: 0 };
    paper.append(svg("title", {}, titleOf(card)));
    paper.append(svg("rect", { width, height, fill: flat(getComputedStyle(copy).backgroundColor).colour }));
    for (const child of copy.childNodes) trace(pen, child, 1);
    paper.append(words);
    return paper;
  } finally {
    copy.remove();
  }
}

function copyOf(own, card) {
  const copy = card.cloneNode(true);
  copy.classList.add("saving");
  copy.style.fontFamily = SAVED_FONT;
  for (const node of copy.querySelectorAll(".save, .said, .tip, details, .unsaved")) node.remove();
  for (const line of copy.querySelectorAll(".read")) line.textContent = onPaperOnly(line.textContent);
  copy.append(el("p", "read", ["Made with MoEViz", keyOf(own.root)].filter(Boolean).join(" · trace ")));
  const papers = new Map(), canvases = [...card.querySelectorAll("canvas")];
  let width = card.offsetWidth;
  [...copy.querySelectorAll("canvas")].forEach((canvas, i) => {
    const found = own.redraw ? own.redraw(canvases[i]) : imageOf(canvases[i]);
    if (!found) return canvas.remove();
    const stand = el("div", "stand");
    Object.assign(stand.style, { width: `${found.width}px`, height: `${found.height}px` });
    papers.set(stand, found.node);
    width = Math.max(width, found.width + 48);
    canvas.replaceWith(stand);
  });
  const drawn = [...card.querySelectorAll("svg")];
  [...copy.querySelectorAll("svg")].forEach((node, i) => papers.set(node, frozen(drawn[i])));
  copy.style.width = `${width}px`;
  return { copy, papers };
}

// A reading line without the sentences on what to click: a file has nothing to click.
const onPaperOnly = (words) => words.split(/(?<=[.;]) /).filter((part) => !/\b(click|hover)\b/i.test(part)).join(" ");

function imageOf(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  return width && height ? { node: svg("image", { width, height, href: canvas.toDataURL() }), width, height } : null;
}

// What `paint(canvas)` draws on a canvas of this size, at twice the pixels, with its words as
// text on top: {node, width, height}, as `own.redraw` may hand back.
function onPaper(width, height, paint) {
  const scale = Math.min(SHARP, LONGEST / Math.max(width, height));
  const canvas = el("canvas");
  [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
  const ctx = canvas.getContext("2d"), words = [];
  const own = {
    setTransform: () => ctx.setTransform(scale, 0, 0, scale, 0, 0), // ours, whatever the screen's
    fillText: (text, x, y) => words.push(wordOf(ctx, text, x, y, scale)),
  };
  const pen = new Proxy(ctx, {
    get: (_, name) => own[name] ?? (typeof ctx[name] === "function" ? ctx[name].bind(ctx) : ctx[name]),
    set: (_, name, value) => { ctx[name] = value; return true; },
  });
  paint({ getContext: () => pen, style: {} });
  const node = svg("g");
  node.append(svg("image", { width, height, href: canvas.toDataURL() }), ...words);
  return { node, width, height };
}

const BASELINES = { middle: 0.36, top: 0.8, hanging: 0.8, bottom: -0.22, alphabetic: 0 };

function wordOf(ctx, text, x, y, scale) {
  const [, weight, size] = ctx.font.match(/(\d{3}|bold)?\s*([\d.]+)px/) ?? [0, "400", "12"];
  const at = ctx.getTransform().transformPoint({ x, y });
  return svg("text", {
    x: round(at.x / scale), y: round(at.y / scale + (BASELINES[ctx.textBaseline] ?? 0) * size), fill: ctx.fillStyle,
    "fill-opacity": round(ctx.globalAlpha), "font-size": size, "font-weight": weight ?? 400,
    "text-anchor": { right: "end", end: "end", center: "middle" }[ctx.textAlign] ?? "start",
  }, text);
}

const DRAWN = {
  fill: "", "fill-opacity": "1", stroke: "none", "stroke-width": "1px", "stroke-opacity": "1", "stroke-dasharray": "none",
  "stroke-linecap": "butt", "stroke-linejoin": "miter", opacity: "1", "font-size": "", "font-weight": "400",
  "text-anchor": "start", "dominant-baseline": "auto", "paint-order": "normal", visibility: "visible", "mix-blend-mode": "normal",
};

// A copy of SVG that looks the same without the page's styles.
function frozen(node) {
  const copy = node.cloneNode(true);
  const from = [node, ...node.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
  from.forEach((part, i) => {
    const style = getComputedStyle(part);
    if (style.display === "none") to[i].setAttribute("display", "none");
    for (const [name, plain] of Object.entries(DRAWN)) {
      const value = style.getPropertyValue(name);
      if (!value || value === plain) continue;
      to[i].setAttribute(name, name === "fill" || name === "stroke" ? plainPaint(value) : value);
    }
    for (const name of ["class", "style", "tabindex"]) to[i].removeAttribute(name);
  });
  return copy;
}

const plainPaint = (value) => (/^color/.test(value) ? flat(value).colour : value);

// ---- one node after the other

const round = (x) => Math.round(x * 100) / 100;

function trace(pen, node, alpha) {
  if (node.nodeType === Node.TEXT_NODE) return traceText(pen, node, alpha);
  if (node.nodeType !== Node.ELEMENT_NODE) return;
  const style = getComputedStyle(node);
  if (style.display === "none" || style.visibility === "hidden") return;
  const paper = pen.papers.get(node);
  if (paper) return place(pen, node, paper);
  const faint = alpha * Number(style.opacity);
  if (!style.display.startsWith("inline")) pen.run = null;
  boxes(pen, node, style, faint);
  for (const child of node.childNodes) trace(pen, child, faint);
  if (!style.display.startsWith("inline")) pen.run = null;
}

function place(pen, node, paper) {
  const box = node.getBoundingClientRect();
  const group = svg("g", { transform: `translate(${round(box.left - pen.x)} ${round(box.top - pen.y)})` });
  group.append(paper);
  pen.paper.append(group);
  pen.run = null;
}

function boxes(pen, node, style, alpha) {
  const ground = flat(style.backgroundColor);
  const ramp = style.backgroundImage.startsWith("linear-gradient") && style.backgroundImage;
  const line = style.borderTopStyle !== "none" && parseFloat(style.borderTopWidth);
  const edge = style.outlineStyle !== "none" && parseFloat(style.outlineWidth);
  const below = style.boxShadow.match(/^(.+\)) 0px -(\d+)px 0px 0px inset/);
  const before = getComputedStyle(node, "::before");
  if (before.content !== "none" && before.display !== "none") sign(pen, node, before, alpha);
  if (!(ground.alpha || ramp || line || edge || below)) return;
  for (const box of node.getClientRects()) {
    const facts = { ...where(pen, box), rx: Math.min(parseFloat(style.borderRadius) || 0, box.height / 2) };
    if (ground.alpha) pen.paper.append(svg("rect", { ...facts, fill: ground.colour, "fill-opacity": round(ground.alpha * alpha) }));
    if (ramp) pen.paper.append(...gradient(pen, facts, ramp));
    if (line) pen.paper.append(svg("rect", { ...facts, fill: "none", stroke: flat(style.borderTopColor).colour, "stroke-width": line }));
    if (edge) pen.paper.append(svg("rect", { ...facts, fill: "none", stroke: flat(style.outlineColor).colour, "stroke-width": edge }));
    if (below) pen.paper.append(svg("rect", { ...facts, rx: 0, y: round(facts.y + facts.height - below[2]), height: below[2], fill: flat(below[1]).colour }));
  }
}

const where = (pen, box) => ({ x: round(box.left - pen.x), y: round(box.top - pen.y), width: round(box.width), height: round(box.height) });

// The small sign that a style sheet puts before a word of a legend.
function sign(pen, node, style, alpha) {
  const box = node.getBoundingClientRect();
  const [width, height] = [parseFloat(style.width), parseFloat(style.height)];
  const x = round(box.left - pen.x), middle = round(box.top - pen.y + box.height / 2);
  const line = style.borderTopStyle !== "none" && parseFloat(style.borderTopWidth);
  const ground = flat(style.backgroundColor);
  if (!Number.isFinite(width)) return;
  if (ground.alpha) pen.paper.append(svg("rect", { x, y: middle - height / 2, width, height, rx: Math.min(parseFloat(style.borderRadius) || 0, height / 2) || (style.borderRadius === "50%" ? height / 2 : 0), fill: ground.colour, "fill-opacity": round(ground.alpha * alpha) }));
  else if (line && style.borderBottomStyle !== "none") pen.paper.append(svg("circle", { cx: x + width / 2, cy: middle, r: (width - line) / 2, fill: "none", stroke: flat(style.borderTopColor).colour, "stroke-width": line }));
  else if (line) pen.paper.append(svg("line", { x1: x, x2: x + width, y1: middle, y2: middle, stroke: flat(style.borderTopColor).colour, "stroke-width": line, "stroke-dasharray": style.borderTopStyle === "dashed" ? "5 4" : "none" }));
}

function gradient(pen, facts, ramp) {
  const id = `ramp${pen.count++}`;
  const stops = [...ramp.matchAll(/((?:rgba?|color)\([^()]+\)|#[0-9a-f]+)\s*([\d.]+%)?/gi)];
  const scale = svg("linearGradient", { id });
  scale.append(...stops.map(([, colour, at], i) => {
    const { colour: plain, alpha } = flat(colour);
    return svg("stop", { offset: at ?? round(i / Math.max(1, stops.length - 1)), "stop-color": plain, "stop-opacity": round(alpha) });
  }));
  return [scale, svg("rect", { ...facts, fill: `url(#${id})` })];
}

// Words line by line. Neighbours of one line share one <text>, or letters that join (Arabic) and
// marks that combine (Hindi) would come apart at the edge of a token.
function traceText(pen, node, alpha) {
  if (!node.data.trim() && !node.parentNode.closest(".strip")) return;
  const style = getComputedStyle(node.parentNode);
  for (const { text, box } of linesOf(node)) {
    const word = { text, style, left: box.left - pen.x, right: box.right - pen.x, top: box.top - pen.y, fill: flat(style.color), alpha };
    if (!joins(pen.run, word)) startRun(pen, word);
    pen.run.left = Math.min(pen.run.left, word.left);
    pen.run.right = Math.max(pen.run.right, word.right);
    const facts = { fill: word.fill.colour, "fill-opacity": round(word.fill.alpha * alpha) };
    const line = decorationOf(node.parentNode);
    if (line) facts["text-decoration"] = line;
    pen.run.node.append(svg("tspan", facts, text));
    fit(pen.run);
  }
}

function linesOf(node) {
  const range = document.createRange();
  range.selectNodeContents(node);
  const whole = [...range.getClientRects()];
  if (!whole.length) return [];
  if (whole.every((box) => Math.abs(box.top - whole[0].top) < 2)) return [{ text: node.data, box: range.getBoundingClientRect() }];
  const lines = [];
  let at = 0;
  for (const letter of node.data) {
    range.setStart(node, at);
    range.setEnd(node, (at += letter.length));
    const box = range.getBoundingClientRect();
    const line = lines.at(-1);
    if (!box.width && line) line.text += letter;
    else if (line && Math.abs(line.box.top - box.top) < 2) {
      line.text += letter;
      line.box = { top: line.box.top, left: Math.min(line.box.left, box.left), right: Math.max(line.box.right, box.right) };
    } else lines.push({ text: letter, box: { top: box.top, left: box.left, right: box.right } });
  }
  return lines;
}

function joins(run, word) {
  if (!run || Math.abs(run.top - word.top) > 2 || run.style.fontSize !== word.style.fontSize) return false;
  if (run.style.fontWeight !== word.style.fontWeight || run.style.fontFamily !== word.style.fontFamily) return false;
  return Math.abs(run.right - word.left) < 1.5 || Math.abs(run.left - word.right) < 1.5;
}

function startRun(pen, word) {
  const { style } = word;
  probe.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  const { fontBoundingBoxAscent: up } = probe.measureText("x");
  const rtl = style.direction === "rtl";
  const code = /mono/i.test(style.fontFamily);
  const node = svg("text", { y: round(word.top + up), "font-size": style.fontSize, "font-weight": style.fontWeight, ...(rtl && { direction: "rtl" }), ...(code && { "font-family": style.fontFamily }), style: "white-space: pre" });
  pen.run = { node, style, rtl, top: word.top, left: word.left, right: word.right };
  pen.words.append(node);
}

// The run keeps its width where another font is drawn.
function fit(run) {
  run.node.setAttribute("x", round(run.rtl ? run.right : run.left));
  if (run.right - run.left > 0.5) run.node.setAttribute("textLength", round(run.right - run.left));
  run.node.setAttribute("lengthAdjust", "spacingAndGlyphs");
}

function decorationOf(node) {
  const line = getComputedStyle(node.closest(".partly, .gone") ?? node).textDecorationLine;
  return line && line !== "none" ? line : "";
}

// Any CSS colour as {colour: "#rrggbb", alpha}.
const flats = new Map();
function flat(colour) {
  if (!flats.has(colour)) {
    probe.canvas.width = probe.canvas.height = 1;
    probe.clearRect(0, 0, 1, 1);
    probe.fillStyle = "#000";
    probe.fillStyle = colour;
    probe.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = probe.getImageData(0, 0, 1, 1).data;
    const full = (x) => x.toString(16).padStart(2, "0"); // getImageData undoes the alpha
    flats.set(colour, { colour: `#${full(r)}${full(g)}${full(b)}`, alpha: a / 255 });
  }
  return flats.get(colour);
}

return { savable, waysToSave, onPaper, pageText, download, SAVED_FONT };
})();
