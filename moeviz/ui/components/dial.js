// A slider that answers while it is dragged: the next value is sent when the last was answered.

function newDial(root) {
  const own = { root, sent: 0, waiting: null };
  const card = el("section", "card");
  const row = el("div", "row");
  own.name = el("label");
  own.out = el("output");
  own.input = el("input");
  own.input.type = "range";
  own.input.id = "dial";
  own.name.htmlFor = "dial";
  own.ends = el("div", "ends");
  own.formula = el("p", "formula");
  row.append(own.name, own.out);
  card.append(row, own.input, own.ends, own.formula);
  root.replaceChildren(card);
  own.listen = () => {};
  own.input.oninput = () => turn(own, Number(own.input.value));
  return own;
}

export default function (component) {
  const own = instanceOf(component, newDial);
  const { value, low, high, step, name, off, formula, answers, marks } = component.data;
  own.places = component.data.digits ?? 2;
  own.name.textContent = name;
  own.formula.textContent = formula;
  own.input.disabled = Boolean(off);
  Object.assign(own.input, { min: low, max: high, step });
  if (answers >= own.sent || own.sent - answers > 1e6) {
    own.pending = false;
    own.input.value = value;
    show(own, value, off);
    send(own);
  }
  refill(own.ends, (marks ?? [low, 1, 2, 3, high]).map((v) => endAt(v, (v - low) / (high - low))));
  own.root.dataset.value = value;
  return () => forget(own);
}

function endAt(v, share) {
  const mark = el("span", "", String(v));
  mark.style.left = `${100 * share}%`;
  return mark;
}

function show(own, value, off) {
  own.out.textContent = off || value.toFixed(own.places);
  own.out.classList.toggle("off", Boolean(off));
  const share = (value - own.input.min) / (own.input.max - own.input.min);
  own.input.style.setProperty("--done", `calc(10px + ${share} * (100% - 20px))`); // thumb is 20px
}

function turn(own, value) {
  show(own, value);
  own.waiting = value;
  send(own);
}

function send(own) {
  const stuck = performance.now() - own.when > 3000;
  if (own.waiting === null || (own.pending && !stuck)) return;
  own.when = performance.now();
  own.pending = true;
  own.sent += 1;
  own.component.setTriggerValue("turn", { value: own.waiting, sent: own.sent });
  own.waiting = null;
}
