// The text, token by token. Rebuilt when the text changes, recoloured when only the layer does.

const SIGNS = { "\t": "⇥\t", "\r": "␍", "\u00a0": "⍽" };
const HELD = 150; // milliseconds; keys that repeat are answered once, when they rest
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g;

function newStrip(root) {
  const own = { root, spans: [], at: 0, key: "" };
  own.strip = el("div", "strip");
  own.strip.setAttribute("role", "listbox");
  own.range = el("div", "range unsaved");
  own.head = el("div", "head");
  own.foot = el("div", "foot");
  own.read = el("p", "read");
  own.sheets = el("div");
  const card = el("section", "card");
  card.append(own.head, own.strip, own.range, own.foot, own.read, own.sheets);
  savable(own, card);
  root.replaceChildren(card);
  own.tip = tipFor(root);
  own.listen = (pick) => mark(own, pick);
  own.see = (side, token) => twinOf(own, side, token);
  listenToPointer(own);
  own.strip.onkeydown = (event) => onKey(own, event);
  own.strip.onscroll = () => own.tip.hide();
  return own;
}

export default function (component) {
  const own = instanceOf(component, newStrip);
  if (own.bytes !== component.data) {
    own.bytes = component.data;
    own.picture = unpack(component.data);
  }
  const { meta } = own.picture;
  if (own.key !== meta.key) build(own);
  paint(own);
  own.key = meta.key;
  Object.assign(own.root.dataset, { key: meta.key, layer: meta.layer, colour: meta.colour, mark: meta.mark ?? "" });
  mark(own, bus.pick);
  eyes.add(own.see);
  return () => {
    eyes.delete(own.see);
    forget(own);
  };
}

// One <div dir="auto"> per line of text, so that each line finds its own direction.
function build(own) {
  const { meta, count } = own.picture;
  const special = new Set(meta.special);
  const lines = [el("div")];
  own.spans = meta.units.map(() => []);
  own.twin = -1;
  [own.looks, own.fates, own.marks] = [[], [], []];
  meta.units.forEach((text, i) => {
    const pieces = special.has(i) ? [text] : text.split("\n");
    pieces.forEach((piece, p) => {
      const last = p === pieces.length - 1;
      const span = piece || !last ? spanFor(own, i, piece, count[i] > 0, special.has(i), !last) : null;
      if (span) lines.at(-1).append(span);
      if (!last) lines.push(el("div"));
    });
  });
  for (const line of lines) line.dir = "auto";
  own.strip.classList.toggle("code", looksLikeCode(meta.units.join("")));
  own.strip.classList.toggle("long", meta.units.length > 1500);
  own.strip.replaceChildren(...lines);
  own.strip.scrollTop = 0;
  own.strip.setAttribute("aria-label", `The text in ${meta.units.length} tokens`);
  own.strip.setAttribute("aria-multiselectable", String(Boolean(meta.ranges)));
  own.at = 0;
}

// Indented lines or several lines ending in code punctuation: columns matter, so a fixed width.
function looksLikeCode(text) {
  const lines = text.split("\n");
  return lines.length > 2 && lines.filter((l) => /^(\s{2,}|\t)\S|[{};:]$/.test(l)).length >= lines.length / 2;
}

function spanFor(own, i, piece, owned, special, breaks) {
  const span = el("span", owned ? "t" : "gap");
  if (special) {
    span.classList.add("mark");
    span.dir = "ltr"; // and so has no say in the direction of its line
  }
  const lone = /^ +$/.test(piece);
  const shown = piece
    .replace(/[\t\r\u00a0]/g, (c) => SIGNS[c])
    .replace(CONTROL, (c) => String.fromCharCode(c === "\u007f" ? 0x2421 : 0x2400 + c.charCodeAt(0)));
  span.append(lone ? el("span", "sign", "·".repeat(piece.length)) : shown);
  if (breaks) span.append(el("span", "sign", "↵"));
  if (owned) {
    span.dataset.unit = i;
    span.dataset.token = own.picture.first[i];
    span.setAttribute("role", "option");
    span.tabIndex = -1;
    own.spans[i].push(span);
  }
  return span;
}

function paint(own) {
  const { meta, shade } = own.picture;
  own.root.dataset.side = meta.side ?? "";
  own.theme = themeOf(own.root);
  own.colours = own.theme.dark ? meta.dark : meta.light;
  own.inks = own.colours.map((c) => inkOn(c, own.theme.dark));
  const looks = Array.from({ length: 256 }, (_, s) => `${own.theme.dark} ${meta.kind} ${s} ${own.colours[s] ?? ""}`);
  own.spans.forEach((spans, i) => {
    const look = looks[shade[i]];
    if (own.looks[i] === look) return; // a slider changes few of thousands
    own.looks[i] = look;
    for (const span of spans) {
      span.style.background = own.colours[shade[i]] ?? "";
      span.style.color = own.inks[shade[i]] ?? "";
    }
  });
  fates(own);
  refill(own.head, [el("h3", "", meta.title ?? "The text"), el("span", "model", `${meta.model}, layer ${meta.layer}`)]);
  refill(own.foot, [legendOf(own)]);
  howToRead(own.read, meta.told);
  refill(own.sheets, [sheet("As a table", () => tokenTable(own, 500), false)]);
}

// One row a token: its text, id, what it is coloured by, and its experts with their gates.
function tokenTable(own, most, file = false) {
  const { meta, first, count, ids, value, gates, lost, twin, mate } = own.picture;
  const K = meta.chosen, rows = [];
  meta.units.forEach((text, i) => {
    for (let p = 0; p < count[i] && rows.length < most; p++) {
      const t = first[i] + p;
      const id = ids[t] < 0 ? (file ? null : "") : ids[t];
      const cells = [t + 1, spelt(text) + (count[i] > 1 ? ` ${p + 1}/${count[i]}` : ""), id];
      if (meta.kind === "value") cells.push(value[t]);
      for (let s = t * K; s < (t + 1) * K; s++) cells.push(...(file ? choiceCells(own.picture, s) : [choiceText(own.picture, s)]));
      if (mate) cells.push(twin[t] < 0 ? "" : [...mate.slice(t * K, (t + 1) * K)].filter((e) => e >= 0).join(", "));
      rows.push(cells);
    }
  });
  const known = lost ? "Fate" : gates ? "Gate" : "";
  const slots = file && known ? choiceNames(K, file, known) : Array.from({ length: K }, (_, k) => `Choice ${k + 1}`);
  if (mate) slots.push(`Its experts in ${meta.side === "A" ? "B" : "A"}`);
  const head = ["#", "Token", "Id", ...(meta.kind === "value" ? [meta.legend] : []), ...slots];
  const left = ids.length - rows.length;
  return { head, rows, note: left > 0 ? `The first ${most} of ${ids.length} tokens; a saved file has all.` : "", full: () => tokenTable(own, Infinity, true) };
}

// An expert, and what is known of the choice: its gate, or whether it was lost.
function choiceText({ experts, gates, lost }, s) {
  if (experts[s] < 0) return "none";
  if (lost) return `${experts[s]}: ${lost[s] ? "lost" : "kept"}`;
  return gates ? `${experts[s]}: ${digits(gates[s])}` : String(experts[s]);
}

// The same as cells of a file.
function choiceCells({ experts, gates, lost }, s) {
  const known = lost ? (lost[s] ? "lost" : "kept") : gates?.[s];
  const cells = experts[s] < 0 ? [null, null] : [experts[s], known];
  return lost || gates ? cells : cells.slice(0, 1);
}

const spelt = (text) => text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll(" ", "·");

// Tokens that lost a choice, or all of them, look so even without their colour.
function fates(own) {
  const { fate } = own.picture;
  own.spans.forEach((spans, i) => {
    if (own.fates[i] === fate?.[i]) return;
    own.fates[i] = fate?.[i];
    for (const span of spans) {
      span.classList.toggle("partly", fate?.[i] === 1);
      span.classList.toggle("gone", fate?.[i] === 2);
      span.classList.toggle("other", fate?.[i] === 3);
    }
  });
}

function legendOf(own) {
  const { meta } = own.picture;
  if (meta.kind === "expert") return chips(own);
  if (meta.chips) {
    const both = el("div", "legends");
    both.append(scaleBar(own.colours, meta.legend, meta.ends), chips(own));
    return both;
  }
  return meta.kind === "fate" ? steps(own) : scaleBar(own.colours, meta.legend, meta.ends);
}

function steps(own) {
  const { meta } = own.picture;
  const box = el("div", "chips");
  box.append(el("span", "name", meta.legend));
  for (const { fate, name, shade } of meta.steps) {
    const chip = el("span", ["chip", "chip partly", "chip gone", "chip other"][fate], name);
    chip.style.background = own.colours[shade] ?? "transparent";
    chip.style.color = own.inks[shade] ?? own.theme.text;
    box.append(chip);
  }
  return box;
}

function chips(own) {
  const { meta } = own.picture;
  const box = el("div", "chips");
  box.append(el("span", "name", meta.kind === "expert" ? meta.legend : "Expert"));
  for (const { expert, place, share } of meta.chips) {
    const chip = el("button", "chip");
    chip.append(el("b", "", String(expert)), share);
    chip.dataset.expert = expert;
    chip.title = `Expert ${expert} is ${meta.first} ${share} of the tokens`;
    chip.setAttribute("aria-label", chip.title);
    chip.style.background = own.colours[place] ?? "transparent";
    chip.style.color = own.inks[place] ?? own.theme.text;
    if (meta.kind === "expert") {
      chip.onmouseenter = chip.onfocus = () => light(own, expert);
      chip.onmouseleave = chip.onblur = () => light(own, null);
    }
    chip.onclick = () => choose(own.component, { expert: bus.pick.expert === expert ? null : expert });
    box.append(chip);
  }
  if (meta.more) box.append(el("span", "", meta.more));
  return box;
}

function light(own, expert) {
  own.strip.classList.toggle("dimmed", expert !== null);
  own.spans.forEach((spans, i) => {
    const lit = expert !== null && own.picture.value[own.picture.first[i]] === expert;
    for (const span of spans) span.classList.toggle("lit", lit);
  });
}

// Show the selection: the token outlined, the tokens of the selected expert underlined.
function mark(own, pick) {
  if (!own.picture) return;
  const { meta, first, count, experts } = own.picture;
  const K = meta.chosen;
  pick = { ...pick, token: hereOf(own, pick.token) };
  const range = (meta.ranges && rangeOf(pick)) || [-1, -1];
  own.spans.forEach((spans, i) => {
    const here = pick.token != null && pick.token >= first[i] && pick.token < first[i] + count[i];
    const inside = range[0] < range[1] && range[0] < first[i] + count[i] && range[1] >= first[i];
    let mine = false;
    for (let s = first[i] * K; s < (first[i] + count[i]) * K && pick.expert != null; s++) mine ||= experts[s] === pick.expert;
    if (here) own.at = i;
    const marks = here + 2 * inside + 4 * mine;
    if (own.marks[i] === marks) return;
    own.marks[i] = marks;
    for (const span of spans) {
      span.classList.toggle("on", here);
      span.classList.toggle("in", inside);
      span.classList.toggle("mine", mine);
      span.setAttribute("aria-selected", String(here || inside));
    }
  });
  if (!own.strip.matches(":focus-within")) rove(own, own.at);
  writeRange(own, pick);
  for (const chip of own.foot.querySelectorAll(".chip")) {
    chip.classList.toggle("on", Number(chip.dataset.expert) === pick.expert);
  }
}

// Of two texts side by side the first counts the tokens: `twin` holds each token's number there.
const thereOf = ({ picture }, token) => (picture.meta.side === "B" ? picture.twin[token] : token);
const hereOf = ({ picture }, token) => (picture.meta.side === "B" ? (token == null ? null : picture.twin.indexOf(token)) : token);

// ---- of two texts side by side: the token under the pointer shows on the other side too

const eyes = (bus.eyes ??= new Set());

function pointTo(own, unit) {
  const { twin, meta, first } = own.picture;
  const token = twin && unit !== undefined && twin[first[unit]] >= 0 ? thereOf(own, first[unit]) : null;
  for (const see of eyes) see(meta.side, token);
}

function twinOf(own, side, token) {
  const { first, count, meta, twin } = own.picture ?? {};
  const here = token === null || !twin || meta.side === side ? null : hereOf(own, token);
  const unit = here === null ? -1 : own.spans.findIndex((_, i) => here >= first[i] && here < first[i] + count[i]);
  if (unit === own.twin) return;
  for (const span of own.spans[own.twin] ?? []) span.classList.remove("twin");
  for (const span of own.spans[unit] ?? []) span.classList.add("twin");
  own.twin = unit;
}

// The way to a range without a Shift key, and what is selected.
function writeRange(own, pick) {
  const range = rangeOf(pick);
  const button = el("button", "", range ? "Clear" : own.ranging ? "Now the last token…" : "Select a range");
  button.setAttribute("aria-pressed", String(Boolean(own.ranging)));
  button.onclick = () => {
    own.ranging = !range && !own.ranging;
    if (range) choose(own.component, { until: null });
    else writeRange(own, pick);
    own.range.querySelector("button").focus();
  };
  const words = range ? `Tokens ${range[0] + 1} to ${range[1] + 1} selected` : "";
  refill(own.range, [button, el("span", "", words || "or Shift and click, from the picked token to another")]);
  own.range.hidden = !own.picture.meta.ranges || own.picture.meta.units.length < 2;
}

// Exactly one token can be reached with Tab; arrows move from there.
function rove(own, i) {
  own.roving?.forEach((span) => (span.tabIndex = -1));
  own.roving = own.spans[i]?.length ? own.spans[i] : own.spans.find((s) => s.length) ?? [];
  if (own.roving[0]) own.roving[0].tabIndex = 0;
}

function listenToPointer(own) {
  const unitOf = (event) => event.target.closest?.(".t")?.dataset.unit;
  own.strip.onmouseover = own.strip.onfocusin = (event) => {
    const unit = unitOf(event);
    if (unit === undefined) own.tip.hide();
    else hover(own, Number(unit), event.target.closest(".t"));
    pointTo(own, unit);
  };
  own.strip.onmouseleave = own.strip.onfocusout = () => {
    own.tip.hide();
    pointTo(own, undefined);
  };
  own.strip.addEventListener("focusin", own.strip.onfocusin);
  own.strip.addEventListener("focusout", own.strip.onfocusout);
  own.strip.onmousedown = (event) => event.shiftKey && event.preventDefault(); // no blue text
  own.strip.onclick = (event) => {
    const unit = unitOf(event);
    if (unit !== undefined) take(own, Number(unit), event.shiftKey || own.ranging);
  };
}

// range: from the picked token to this one, pieces of one character all included.
function take(own, unit, range = false, wait = 0) {
  own.at = unit;
  own.ranging = false;
  rove(own, unit);
  const { first, count, meta } = own.picture;
  const token = thereOf(own, first[unit]);
  if (token < 0) return;
  if (!range || !meta.ranges) return choose(own.component, { token });
  const forward = token >= (bus.pick.token ?? 0);
  chooseTo(own.component, forward ? token + count[unit] - 1 : token, wait);
}

function hover(own, i, span) {
  const { meta, first, count, value } = own.picture;
  const t = first[i];
  const which = count[i] > 1 ? `tokens ${t + 1} to ${t + count[i]}, pieces of one character` : `token ${t + 1}${idWords(own.picture.ids[t])}`;
  const lines = [[spelt(meta.units[i]), "title"], [`${which}, layer ${meta.layer}`, "soft"]];
  if (meta.kind === "value") lines.push([`${meta.legend}: ${digits(value[t])}`, ""]);
  own.tip.show(lines, routes(own, t, count[i]), span.getClientRects()[0] ?? span.getBoundingClientRect());
}

const idWords = (id) => (id < 0 ? "" : `, id ${id}`);

// Experts, gates and probabilities of a unit's tokens, one line each.
function routes(own, t, count) {
  const { meta, experts, gates, probability, lost } = own.picture;
  const rows = [];
  if (lost) return fateRows(own, t, count);
  if (own.picture.mate) return twinRows(own, t, count);
  for (let s = t * meta.chosen; s < Math.min(t + count, t + 4) * meta.chosen; s++) {
    if (experts[s] < 0) continue;
    const cells = [`expert ${experts[s]}`, ...(gates ? [digits(gates[s])] : [])];
    rows.push(probability ? [...cells, percentText(probability[s])] : cells);
  }
  if (!rows.length) return { rows: [["no expert took it"]] };
  return { head: ["chosen", ...(gates ? ["gate"] : []), ...(probability ? ["probability"] : [])], rows };
}

// Experts of a unit's tokens here and, for a twin, on the other side.
function twinRows(own, t, count) {
  const { meta, experts, mate, twin } = own.picture;
  const K = meta.chosen, sides = meta.side === "A" ? ["A", "B"] : ["B", "A"];
  const list = (ids, u) => [...ids.slice(u * K, (u + 1) * K)].filter((e) => e >= 0).join(", ") || "none";
  const rows = [];
  for (let u = t; u < Math.min(t + count, t + 4); u++) {
    rows.push([sides[0], `experts ${list(experts, u)}`]);
    rows.push([sides[1], twin[u] < 0 ? "not in this text" : `experts ${list(mate, u)}`]);
  }
  return { rows };
}

// Experts of a unit's tokens and whether each took it.
function fateRows(own, t, count) {
  const { meta, experts, lost } = own.picture;
  const rows = [];
  for (let s = t * meta.chosen; s < Math.min(t + count, t + 4) * meta.chosen; s++) {
    if (experts[s] >= 0) rows.push([`${(s % meta.chosen) + 1}`, `expert ${experts[s]}`, lost[s] ? "lost" : "kept"]);
  }
  return { head: ["choice", "chosen", ""], rows };
}

function onKey(own, event) {
  const unit = event.target.closest?.(".t")?.dataset.unit;
  if (unit === undefined) return;
  const i = Number(unit);
  if (event.key === "Escape") {
    own.tip.hide();
    own.ranging = false;
    if (bus.pick.until != null) choose(own.component, { until: null });
  }
  if (event.key === "Enter" || event.key === " ") {
    take(own, i, event.shiftKey || own.ranging);
  } else {
    const next = stepFrom(own, i, event.key, event.target.closest("div[dir]"));
    if (next === undefined) return;
    rove(own, next);
    own.spans[next][0].focus();
    if (event.shiftKey && own.picture.meta.ranges) {
      if (rangeOf(bus.pick) === null && own.at !== i) choose(own.component, { token: own.picture.first[i] }, HELD);
      take(own, next, true, HELD);
    }
  }
  event.preventDefault();
}

function stepFrom(own, i, key, line) {
  const rtl = getComputedStyle(line).direction === "rtl";
  const seek = (from, by) => {
    for (let j = from; j >= 0 && j < own.spans.length; j += by) if (own.spans[j].length) return j;
    return i;
  };
  if (key === "ArrowRight") return seek(i + (rtl ? -1 : 1), rtl ? -1 : 1);
  if (key === "ArrowLeft") return seek(i + (rtl ? 1 : -1), rtl ? 1 : -1);
  if (key === "Home") return seek(0, 1);
  if (key === "End") return seek(own.spans.length - 1, -1);
  if (key === "ArrowDown" || key === "ArrowUp") return nearest(own, i, key === "ArrowDown" ? 1 : -1);
  return undefined;
}

// The token of the next line up or down that stands closest above or below.
function nearest(own, i, by) {
  const from = own.spans[i][0].getBoundingClientRect();
  const middle = from.left + from.width / 2;
  let best = i, gap = Infinity, line = null;
  for (let j = i + by; j >= 0 && j < own.spans.length; j += by) {
    if (!own.spans[j].length) continue;
    const box = own.spans[j][0].getBoundingClientRect();
    if (Math.abs(box.top - from.top) < 8) continue;
    line ??= box.top;
    if (Math.abs(box.top - line) > 8) break;
    const off = Math.abs(box.left + box.width / 2 - middle);
    if (off < gap) [best, gap] = [j, off];
  }
  return best;
}
