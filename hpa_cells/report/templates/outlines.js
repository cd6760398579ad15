// The cells over a field: outlines that can be pointed at and reached by keys, and their names.

const pathOf = (rings) =>
  rings.map((ring) => {
    let path = "";
    for (let at = 0; at < ring.length; at += 2) path += `${at ? "L" : "M"}${ring[at]} ${ring[at + 1]}`;
    return `${path}Z`;
  }).join("");

// The box moved sideways by at most half of its width, so that it does not leave the room.
const movedInto = (room, { left, right, top, bottom, width }) => {
  const wanted = Math.max(0, room.left + 3 - left) - Math.max(0, right - room.right + 3);
  const by = Math.abs(wanted) <= width / 2 ? wanted : 0;
  return { left: left + by, right: right + by, top, bottom, by };
};
const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

const makeOutlines = ({ filter, onLook, onKeep }) => {
  const layer = find("#cells-layer");
  const stage = find("#stage");
  let cells = [];
  let nodes = [];
  let kept = -1;

  const groupOf = (cell, rings) => {
    const d = pathOf(rings);
    const attributes = { class: "cell", "data-index": cell.index, role: "button", "aria-pressed": "false" };
    return draw("g", attributes, draw("path", { class: "halo", d }), draw("path", { class: "line", d }));
  };

  const show = (field, outlines) => {
    cells = field.cells;
    kept = -1;
    layer.setAttribute("viewBox", `0 0 ${2 * field.width} ${2 * field.height}`);
    nodes = cells.map((cell, index) => groupOf(cell, outlines[index]));
    const names = cells.map((cell) => draw("text", { x: cell.x, y: cell.y }));
    layer.replaceChildren(...nodes, ...names);
    paint();
  };

  const paint = () => {
    const names = findAll("text", layer);
    for (const cell of cells) {
      const node = nodes[cell.index];
      const index = filter.classOf(cell);
      const look = run.classes[index] ?? { color: "#c8c8c8", dash: "" };
      const isIn = filter.matches(cell);
      node.classList.toggle("out", !isIn);
      names[cell.index].classList.toggle("out", !isIn);
      names[cell.index].textContent = nameOf(cell, index) || cell.id;
      node.style.setProperty("--color", look.color);
      node.style.setProperty("--dash", look.dash || "none");
      names[cell.index].style.setProperty("--color", look.color);
      const probability = index < 0 ? "" : shown(cell.p[index]);
      node.setAttribute("aria-label", `Cell ${cell.id}, ${nameOf(cell, index)} ${probability}`);
      node.setAttribute("aria-hidden", String(!isIn));
    }
    enter(nodes[kept] && !nodes[kept].classList.contains("out") ? kept : cells.find(filter.matches)?.index ?? -1);
    untangle();
  };

  // One cell is the stop of the tab key.
  const enter = (index) => nodes.forEach((node, at) => { node.setAttribute("tabindex", at === index ? 0 : -1); });

  const keep = (index) => {
    kept = index;
    nodes.forEach((node, at) => node.setAttribute("aria-pressed", String(at === index)));
    findAll("text", layer).forEach((name, at) => name.classList.toggle("kept", at === index));
    if (index >= 0) enter(index);
    untangle();
  };

  // Names stay within the picture that is in sight. Those that would cover others are left out; the one that is kept
  // and surer cells go first.
  const untangle = () => {
    const names = findAll("text", layer);
    names.forEach((name) => { name.classList.remove("covered"); name.removeAttribute("dx"); });
    const room = stage.getBoundingClientRect();
    const unit = Number(layer.parentNode.style.getPropertyValue("--unit"));
    const boxes = names.map((name) => movedInto(room, name.getBoundingClientRect()));
    const taken = [];
    const order = [...cells].sort((a, b) =>
      (b.index === kept) - (a.index === kept) || b.p[topClass(b)] - a.p[topClass(a)]);
    for (const { index } of order) {
      const isOut = names[index].classList.contains("out");
      const isCovered = isOut || taken.some((other) => overlap(boxes[index], other));
      names[index].classList.toggle("covered", isCovered);
      if (boxes[index].by) names[index].setAttribute("dx", boxes[index].by * unit);
      if (!isCovered) taken.push(boxes[index]);
    }
  };

  const indexOf = (target) => Number(target.closest?.("g.cell")?.dataset.index ?? -1);
  layer.addEventListener("pointerover", (event) => onLook(indexOf(event.target)));
  layer.addEventListener("pointerleave", () => onLook(-1));
  layer.addEventListener("focusin", (event) => { enter(indexOf(event.target)); onLook(indexOf(event.target)); });
  layer.addEventListener("focusout", () => onLook(-1));
  layer.addEventListener("click", (event) => onKeep(indexOf(event.target)));
  layer.addEventListener("keydown", (event) => {
    const index = indexOf(event.target);
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); onKeep(index); }
    if (event.key === "Escape") onKeep(-1);
    if (!ARROWS[event.key]) return;
    event.preventDefault();
    const next = nearest(cells.filter(filter.matches), cells[index], ARROWS[event.key]);
    if (next) nodes[next.index].focus({ preventScroll: true });
  });
  return { show, paint, keep, untangle, focus: (index) => nodes[index]?.focus({ preventScroll: true }) };
};
