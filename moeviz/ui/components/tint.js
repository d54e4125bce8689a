// Tells a cloud how to colour its points and what to place among them, without sending it again.
export default function (component) {
  const tint = unpack(component.data);
  bus.tints = { ...bus.tints, [tint.meta.for]: tint };
  for (const ear of bus.ears) ear(bus.pick);
}
