// Carries the server's idea of the selection to the page, unless the user has clicked since.
// Half characters (lone surrogates) would end the connection: no message can carry them. They
// become replacement signs as they are typed or pasted, before any other listener reads them.
function mend(event) {
  const field = event.target;
  if (!(field instanceof HTMLTextAreaElement || field instanceof HTMLInputElement)) return;
  if (field.value.isWellFormed?.() !== false) return;
  const kind = Object.getPrototypeOf(field);
  Object.getOwnPropertyDescriptor(kind, "value").set.call(field, field.value.toWellFormed());
}
if (!bus.mends) document.addEventListener("input", mend, { capture: true });
bus.mends = true;

export default function (component) {
  const { row, expert, token, until, step, visit } = component.data;
  if (bus.visit !== visit) {
    bus.visit = visit;
    bus.step = step;
  }
  for (const field of document.querySelectorAll("textarea")) field.dir = "auto"; // Arabic, Hebrew
  if (step >= bus.step) tell({ row, expert, token, until });
}
