// Hands the text box's text on as it is typed, a moment after the last key.
export default function (component) {
  const own = instanceOf(component, (root) => ({ root, listen() {} }));
  const { label, pause } = component.data;
  own.heard ??= ({ target }) => {
    if (target.ariaLabel !== label) return;
    clearTimeout(own.soon);
    own.soon = setTimeout(() => own.component.setTriggerValue("edit", target.value), 1000 * pause);
  };
  document.addEventListener("input", own.heard); // the same listener is only there once
  return () => {
    clearTimeout(own.soon);
    document.removeEventListener("input", own.heard);
    forget(own);
  };
}
