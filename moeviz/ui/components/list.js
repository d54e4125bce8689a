// Ranked lines with a bar each: tokens in their context, or experts. A click goes there.

const PAGE = 100; // lines shown at first, and added by the button

function newList(root) {
  const own = { root, shown: PAGE, sort: 0, at: 0 };
  const card = el("section", "card");
  own.headBox = el("div", "head");
  own.facts = el("dl", "facts");
  own.sorts = el("div", "sorts");
  own.list = el("div", "list");
  own.list.setAttribute("role", "listbox");
  own.more = el("button", "more unsaved");
  own.foot = el("div", "foot");
  own.read = el("p", "read");
  own.sheets = el("div");
  card.append(own.headBox, own.facts, own.sorts, own.list, own.more, own.foot, own.read, own.sheets);
  savable(own, card);
  root.replaceChildren(card);
  own.listen = (pick) => own.picture && mark(own, pick);
  own.more.onclick = () => {
    const next = own.shown;
    own.shown += PAGE;
    lines(own);
    own.list.children[next]?.focus();
  };
  own.list.onclick = (event) => take(own, event.target.closest?.(".line"));
  own.list.onkeydown = (event) => onKey(own, event);
  return own;
}

export default function (component) {
  const own = instanceOf(component, newList);
  if (own.bytes !== component.data) {
    own.bytes = component.data;
    own.picture = unpack(component.data);
    [own.shown, own.at] = [PAGE, 0];
    own.list.scrollTop = 0;
  }
  own.theme = themeOf(own.root);
  write(own);
  const { meta } = own.picture;
  own.list.classList.toggle("still", !meta.pick);
  Object.assign(own.root.dataset, { key: meta.key, list: meta.pick, lines: meta.rows.length });
  return () => forget(own);
}

function write(own) {
  const { meta } = own.picture;
  const chip = meta.chip !== undefined && el("bdi", "token", meta.chip);
  refill(own.headBox, [el("h3", "", meta.title), chip, el("span", "model", [meta.model, meta.place].filter(Boolean).join(", "))]);
  refill(own.facts, meta.facts.map(factOf));
  own.facts.hidden = !meta.facts.length;
  howToRead(own.read, meta.rows.length ? meta.told : [meta.empty]);
  own.list.setAttribute("aria-label", `${meta.title}: ${meta.rows.length} lines. Arrow keys move, Enter picks.`);
  const band = meta.band && Number.isFinite(meta.band.low) && meta.band;
  refill(own.foot, [meta.value && el("span", meta.inks ? "" : "bar-sign", meta.value.name), band && el("span", "swatch band", `${band.name} ${bandWords(meta)}`)]);
  own.foot.hidden = own.list.hidden = !meta.rows.length;
  refill(own.sheets, [meta.rows.length && sheet("As a table", () => table(own), false)]);
  sortKeys(own);
  lines(own);
}

function table(own, word = (v) => say(own.picture.meta.value, v)) {
  const { meta, values, at } = own.picture;
  const token = meta.pick === "token";
  const rows = meta.rows.map(([label, before, after], i) => [...(token ? [at[i] + 1, label, before + label + after] : [numeric(label)]), ...(values ? [word(values[i])] : [])]);
  const what = meta.value?.of ?? "Expert";
  return { head: [...(token ? ["#", "Token", "In the text"] : [what]), ...(values ? [meta.value.name] : [])], rows, full: () => table(own, Number) };
}

function bandWords({ band, value }) {
  const [low, high] = [band.low, band.high].map((v) => say(value, v));
  return low === high ? low : `${low} to ${high}`;
}

const signed = (v) => (v < 0 ? "−" : "+") + Math.abs(v).toFixed(3);
const say = (value, v) => (value.unit === "%" ? percentText(v) : value.signed ? signed(v) : digits(v));

function sortKeys(own) {
  const { sorts, rows } = own.picture.meta;
  const keys = (rows.length > 1 ? (sorts ?? []) : []).map((name, i) => {
    const key = el("button", "", name);
    key.setAttribute("aria-pressed", String(own.sort === i));
    key.onclick = () => {
      own.sort = i;
      sortKeys(own);
      lines(own);
      own.sorts.children[i].focus();
    };
    return key;
  });
  refill(own.sorts, keys);
  own.sorts.hidden = !keys.length;
}

// Lines come in text order where they can be sorted, else in the order they are to be shown.
function orderOf(own) {
  const { meta, values } = own.picture;
  const order = meta.rows.map((_, i) => i);
  return meta.sorts && own.sort === 0 ? order.sort((a, b) => values[b] - values[a] || a - b) : order;
}

function lines(own) {
  const { meta } = own.picture;
  const order = orderOf(own).slice(0, own.shown);
  refill(own.list, order.map((i) => lineOf(own, i)));
  const left = meta.rows.length - order.length;
  own.more.hidden = left <= 0;
  own.more.textContent = `Show ${Math.min(PAGE, left)} more of ${left.toLocaleString("en")}`;
  rove(own, 0);
  mark(own, bus.pick);
}

function lineOf(own, i) {
  const { meta, values, at } = own.picture;
  const [label, before, after] = meta.rows[i];
  const line = el("div", "line");
  line.dataset.at = at[i];
  line.setAttribute("role", "option");
  line.tabIndex = -1;
  const words = el("span", "words");
  words.dir = "auto";
  if (meta.pick === "token") line.append(el("span", "number", (at[i] + 1).toLocaleString("en")));
  words.append(el("span", "soft", before), el(before || after ? "b" : "span", "label", label), el("span", "soft", after));
  line.append(words);
  if (values) line.append(barOf(own, i), el("span", "value", say(meta.value, values[i])));
  return line;
}

// From zero, which is not the left end where values may be negative (low); its 95 % as a line.
function barOf(own, i) {
  const { meta: { value, band, inks }, values, low, high } = own.picture;
  const bar = el("span", "bar"), v = values[i], least = value.low ?? 0;
  const share = (x) => `${100 * Math.min(1, Math.max(0, (x - least) / (value.high - least)))}%`;
  if (band && Number.isFinite(band.low)) {
    const chance = el("span", "band");
    chance.style.left = share(band.low);
    chance.style.width = `max(2px, calc(${share(band.high)} - ${share(band.low)}))`;
    bar.append(chance);
  }
  const fill = el("span", "fill");
  fill.style.left = share(Math.min(0, v));
  fill.style.width = `calc(${share(Math.max(0, v))} - ${share(Math.min(0, v))})`;
  if (inks) fill.style.background = inks[own.theme.dark ? "dark" : "light"][v > 0 ? "lost" : "kept"];
  bar.append(fill);
  if (low) {
    const line = el("span", "whisker");
    line.style.left = share(low[i]);
    line.style.width = `max(1px, calc(${share(high[i])} - ${share(low[i])}))`;
    bar.append(line);
  }
  if (least < 0) {
    const zero = el("span", "zero");
    zero.style.left = share(0);
    bar.append(zero);
  }
  return bar;
}

// ---- selection and keys

function mark(own, pick) {
  const here = pick[own.picture.meta.pick];
  for (const line of own.list.children) {
    const on = Number(line.dataset.at) === here;
    line.classList.toggle("on", on);
    line.setAttribute("aria-selected", String(on));
  }
}

function take(own, line) {
  if (!line || !own.picture.meta.pick) return;
  rove(own, [...own.list.children].indexOf(line));
  choose(own.component, { [own.picture.meta.pick]: Number(line.dataset.at) });
}

function rove(own, i) {
  own.at = i;
  for (const line of own.list.children) line.tabIndex = -1;
  if (own.list.children[i]) own.list.children[i].tabIndex = 0;
}

function onKey(own, event) {
  const count = own.list.children.length;
  const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e6, End: 1e6 }[event.key];
  if (event.key === "Enter" || event.key === " ") take(own, event.target.closest(".line"));
  else if (step) {
    rove(own, Math.min(count - 1, Math.max(0, own.at + step)));
    own.list.children[own.at].focus();
  } else return;
  event.preventDefault();
}
