// Small hands for the document. Text from files of strangers only ever becomes text nodes and attributes.

const SVG = "http://www.w3.org/2000/svg";

const find = (selector, root = document) => root.querySelector(selector);
const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];

const fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
};
const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const draw = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

// Colour and dashes of a class, as its cells are outlined; the same as the macro of the tables.
const swatch = ({ color, dash }) =>
  draw("svg", { class: "swatch", viewBox: "0 0 26 10", "aria-hidden": "true" },
    draw("line", { x1: 3, y1: 5, x2: 23, y2: 5, stroke: color, "stroke-dasharray": dash }));

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Of places {x, y}, the nearest one in a direction; what lies aside counts more than what lies ahead.
const nearest = (places, from, [dx, dy]) => {
  let best = null;
  let least = Infinity;
  for (const place of places) {
    const ahead = (place.x - from.x) * dx + (place.y - from.y) * dy;
    const aside = Math.abs((place.x - from.x) * dy) + Math.abs((place.y - from.y) * dx);
    if (ahead > 1e-6 && ahead + 2.5 * aside < least) [best, least] = [place, ahead + 2.5 * aside];
  }
  return best;
};

const middle = (node) => {
  const box = node.getBoundingClientRect();
  return { node, x: box.x + box.width / 2, y: box.y + box.height / 2 };
};

// A list of buttons is one stop of the tab key; arrows go from one to the next.
const rove = (list) => {
  const enter = (button) => {
    for (const other of findAll("button", list)) other.tabIndex = other === button ? 0 : -1;
  };
  enter(find("button:not(:disabled)", list));
  list.addEventListener("focusin", (event) => enter(event.target.closest("button")));
  list.addEventListener("keydown", (event) => {
    const direction = ARROWS[event.key];
    if (!direction) return;
    event.preventDefault();
    const others = findAll("button:not(:disabled)", list).map(middle);
    nearest(others, middle(document.activeElement), direction)?.node.focus();
  });
};
