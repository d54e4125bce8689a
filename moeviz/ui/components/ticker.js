// Asks the server to look again, a moment after each answer, while something is under way there.
export default function (component) {
  const own = instanceOf(component, (root) => ({ root, listen() {} }));
  const { every, look } = component.data;
  clearTimeout(own.soon);
  if (every) own.soon = setTimeout(() => component.setTriggerValue("tick", look), 1000 * every);
  return () => { clearTimeout(own.soon); forget(own); };
}
