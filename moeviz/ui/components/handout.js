// A hand-out: the page as it stands, in one file that asks for nothing from anywhere.
//
// Figures come as `savable` draws them. Of everything else only words, tables, lists and links are
// taken, built anew node by node, so that nothing of the page's own code or styles comes along.

const KEPT = new Set(["P", "STRONG", "EM", "UL", "OL", "LI", "H1", "H2", "H3", "H4", "H5", "H6", "CODE", "PRE", "BLOCKQUOTE",
  "TABLE", "THEAD", "TBODY", "TR", "TH", "TD", "BR", "HR", "A"]);
const LEFT_OUT = "button, input, textarea, select, form, nav, canvas, svg, style, script, [role=radiogroup], [role=slider], [data-testid=stWidgetLabel], [data-testid=stTooltipIcon]";
const MATH = "http://www.w3.org/1998/Math/MathML";
const WHOLE = "[data-testid=stHeading], [data-testid=stMarkdown], [data-testid=stTable], [data-testid=stAlert], [data-testid=stCaptionContainer]";

export default function (component) {
  const root = component.parentElement.querySelector(".root");
  const button = el("button", "", component.data.label);
  const said = el("span", "said");
  said.setAttribute("aria-live", "polite");
  button.onclick = () => {
    save(root);
    said.textContent = " Saved.";
  };
  root.replaceChildren(button, said);
}

function save(root) {
  const main = document.querySelector("[data-testid=stMain]");
  const title = main.querySelector("h1")?.textContent.trim() || "MoEViz";
  const paper = el("main", "handout");
  for (const part of partsOf(main)) paper.append(...part);
  paper.append(footer());
  const name = title.toLowerCase().normalize("NFKD").replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  download(new Blob([pageText(title, themeOf(root), [paper])], { type: "text/html;charset=utf-8" }), `moeviz-${name}.html`);
}

// Lists of nodes, one for each figure and piece of text, in reading order.
function* partsOf(node) {
  if (node.nodeType !== Node.ELEMENT_NODE || getComputedStyle(node).display === "none") return;
  const figure = node.shadowRoot?.querySelector(".root");
  if (figure) {
    const draw = bus.figures?.get(figure);
    if (draw) yield draw();
    return;
  }
  if (node.matches(WHOLE)) return yield [...wordsOf(node)];
  if (node.matches("textarea") && node.value.trim()) return yield [el("pre", "", node.value)];
  if (node.matches(LEFT_OUT)) return;
  for (const child of node.children) yield* partsOf(child);
}

// The words below `node`, in the elements that carry meaning and no others.
function* wordsOf(node) {
  for (const child of node.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) yield document.createTextNode(child.data);
    if (child.nodeType !== Node.ELEMENT_NODE || child.matches(LEFT_OUT)) continue;
    const home = child.tagName === "A" && child.host === location.host; // leads nowhere without the server
    if (child.matches(".katex")) yield formulaOf(child.querySelector("math"));
    else if (KEPT.has(child.tagName) && !home) yield wrapped(child);
    else yield* wordsOf(child);
  }
}

// MathML, which browsers set by themselves.
function formulaOf(node) {
  if (node.nodeType === Node.TEXT_NODE) return document.createTextNode(node.data);
  const copy = document.createElementNS(MATH, node.localName);
  if (node.hasAttribute("display")) copy.setAttribute("display", node.getAttribute("display"));
  copy.append(...[...node.childNodes].filter((inner) => inner.localName !== "annotation").map(formulaOf));
  return copy;
}

function wrapped(child) {
  const copy = el(child.tagName.toLowerCase());
  if (child.tagName === "A" && /^https?:/.test(child.href)) copy.setAttribute("href", child.href);
  copy.append(...wordsOf(child));
  return copy;
}

function footer() {
  const line = el("p", "", `Made with MoEViz on ${new Date().toISOString().slice(0, 10)}. `);
  const link = el("a", "", location.href);
  link.setAttribute("href", location.href);
  line.append("This state, live: ", link);
  return line;
}
