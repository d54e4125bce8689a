// Carries the server's idea of the selection to the page, unless the user has clicked since.
export default function (component) {
  const { row, expert, token, step, visit } = component.data;
  if (bus.visit !== visit) {
    bus.visit = visit;
    bus.step = step;
  }
  if (step >= bus.step) tell({ row, expert, token });
}
