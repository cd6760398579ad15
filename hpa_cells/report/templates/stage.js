// Zoom and pan.

const MOST_ZOOM = 12;
const BARS_UM = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

const makeStage = (onZoom) => {
  const stage = find("#stage");
  const sheet = find("#sheet");
  const pointers = new Map();
  let field = null;
  let view = { zoom: 1, x: 0, y: 0 };
  let moved = false;

  const fitted = () => {
    const scale = Math.min(stage.clientWidth / field.width, stage.clientHeight / field.height);
    return { width: field.width * scale, height: field.height * scale };
  };
  const bounded = (at, size, room) => (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at)));

  const apply = () => {
    // Not laid out yet, or not shown.
    if (!stage.clientWidth || !stage.clientHeight) return;
    const { width, height } = fitted();
    view.x = bounded(view.x, width * view.zoom, stage.clientWidth);
    view.y = bounded(view.y, height * view.zoom, stage.clientHeight);
    sheet.style.width = `${width * view.zoom}px`;
    sheet.style.height = `${height * view.zoom}px`;
    sheet.style.transform = `translate(${view.x}px, ${view.y}px)`;
    // Names keep their size on the screen: in half pixels of the field, this is a pixel of the screen.
    sheet.style.setProperty("--unit", (2 * field.width) / (width * view.zoom));
    stage.classList.toggle("zoomed", view.zoom > 1);
    find("#scale").hidden = field.um === null;
    if (field.um !== null) showScale((width * view.zoom) / (field.width * field.um));
  };

  const showScale = (pxPerUm) => {
    const um = BARS_UM.findLast((each) => each * pxPerUm <= 0.24 * stage.clientWidth) ?? BARS_UM[0];
    find("#scale i").style.width = `${um * pxPerUm}px`;
    find("#scale span").textContent = `${um} µm`;
  };

  const zoomBy = (factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) => {
    const zoom = Math.min(MOST_ZOOM, Math.max(1, view.zoom * factor));
    const by = zoom / view.zoom;
    view = { zoom, x: x - (x - view.x) * by, y: y - (y - view.y) * by };
    apply();
    onZoom();
  };
  const fit = () => { view = { zoom: 1, x: 0, y: 0 }; apply(); onZoom(); };

  const show = (next) => { field = next; fit(); };

  // Brings a cell into sight, moving no more than needed.
  const reveal = ({ box }) => {
    const scale = (fitted().width * view.zoom) / (2 * field.width);
    const [left, top, width, height] = box.map((value) => value * scale);
    const into = (at, start, size, room) => Math.min(Math.max(at, -start), room - start - size);
    view.x = into(view.x, left, width, stage.clientWidth);
    view.y = into(view.y, top, height, stage.clientHeight);
    apply();
  };

  const within = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };
  stage.addEventListener("pointerdown", (event) => { pointers.set(event.pointerId, within(event)); moved = false; });
  window.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const apart = pointers.size === 2 ? spread() : 0;
    const [x, y] = within(event);
    pointers.set(event.pointerId, [x, y]);
    if (Math.hypot(x - before[0], y - before[1]) > 2) moved = true;
    if (apart) zoomBy(spread() / apart, x, y);
    else { view.x += x - before[0]; view.y += y - before[1]; apply(); }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    window.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
  // To drag is not to choose a cell.
  stage.addEventListener("click", (event) => { if (moved) event.stopPropagation(); }, true);
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 250), ...within(event));
  }, { passive: false });
  stage.addEventListener("keydown", (event) => {
    const act = { "+": () => zoomBy(1.4), "=": () => zoomBy(1.4), "-": () => zoomBy(1 / 1.4), 0: fit }[event.key];
    if (act && !event.ctrlKey && !event.metaKey) { event.preventDefault(); act(); }
  });
  find("#zoom-in").addEventListener("click", () => zoomBy(1.4));
  find("#zoom-out").addEventListener("click", () => zoomBy(1 / 1.4));
  find("#zoom-fit").addEventListener("click", fit);
  new ResizeObserver(() => { if (field) { apply(); onZoom(); } }).observe(stage);
  return { show, reveal };
};
