"use strict";
// A map of numbers, drawn by hand as SVG, that the mouse and the arrow keys read. What a user wrote
// is set as text, never as HTML.

const LEVELS = 16; // shades of a map
// From none to many, as in analysis/plots.py: white, sky blue, blue, nearly black.
const SCALE = [[255, 255, 255], [86, 180, 233], [0, 114, 178], [0, 38, 59]];

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function svg(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function colour(share) {
  const place = share * (SCALE.length - 1);
  const i = Math.min(Math.floor(place), SCALE.length - 2);
  const mixed = SCALE[i].map((low, c) => Math.round(low + (place - i) * (SCALE[i + 1][c] - low)));
  return `rgb(${mixed.join(",")})`;
}

const pen = document.createElement("canvas").getContext("2d");
function textWidth(texts, size) {
  pen.font = `${size}px system-ui, sans-serif`;
  return Math.ceil(Math.max(...texts.map((text) => pen.measureText(text).width)));
}

// A map of values[row][column] from 0 to top, with names at its rows and columns. `read(i, j)`, a
// sentence on one cell, is shown under the mouse and, cell by cell, by the arrow keys.
function drawMap(place, { values, rows, columns, top, width, label, legend, read }) {
  const rowNames = textWidth(rows, 12) + 8;
  const cell = Math.max(11, Math.min(22, Math.floor((width - rowNames - 2) / columns.length)));
  const font = Math.min(12, cell);
  const head = textWidth(columns, font) + 8;
  const [w, h] = [columns.length * cell, rows.length * cell];
  const picture = svg("svg", { width: rowNames + w + 2, height: head + h + 2, "aria-hidden": true });
  // One path a shade, so that 128 x 128 cells are a few elements and not 16,384.
  const paths = Array.from({ length: LEVELS + 1 }, () => []);
  values.forEach((row, i) => row.forEach((value, j) => {
    if (value > 0) {
      const level = Math.max(1, Math.round((LEVELS * value) / top));
      paths[level].push(`M${rowNames + j * cell} ${head + i * cell}h${cell}v${cell}h${-cell}z`);
    }
  }));
  picture.append(...paths.flatMap((path, level) =>
    path.length ? [svg("path", { d: path.join(""), fill: colour(level / LEVELS) })] : []));
  const frame = { x: rowNames, y: head, width: w, height: h, fill: "none", stroke: "#8a8a8a" };
  picture.append(svg("rect", frame));
  rows.forEach((name, i) => picture.append(svg("text", {
    x: rowNames - 5, y: head + (i + 0.5) * cell, "font-size": font, "text-anchor": "end",
    "dominant-baseline": "central",
  }, name)));
  columns.forEach((name, j) => picture.append(svg("text", {
    transform: `translate(${rowNames + (j + 0.5) * cell} ${head - 5}) rotate(-90)`,
    "font-size": font, "dominant-baseline": "central",
  }, name)));
  const cursor = svg("rect", {
    width: cell, height: cell, fill: "none", stroke: "#d55e00", "stroke-width": 2,
    visibility: "hidden",
  });
  picture.append(cursor);

  const scroll = element("div", { className: "scroll", tabIndex: 0 }, picture);
  scroll.setAttribute("role", "group");
  scroll.setAttribute("aria-label", `${label}. The arrow keys read its cells.`);
  const hint = "Point at a cell, or use the arrow keys, to read it.";
  const readout = element("p", { className: "readout", textContent: hint });
  readout.setAttribute("aria-live", "polite");
  const bar = element("span", { className: "bar" });
  bar.style.background = `linear-gradient(to right, ${SCALE.map((rgb) => `rgb(${rgb})`).join(",")})`;
  const scale = element("div", { className: "legend" }, "0", bar, legend);
  place.replaceChildren(scroll, scale, readout);

  let at = null;
  function point(i, j) {
    if (i < 0 || j < 0 || i >= rows.length || j >= columns.length) return;
    at = [i, j];
    cursor.setAttribute("x", rowNames + j * cell);
    cursor.setAttribute("y", head + i * cell);
    cursor.setAttribute("visibility", "visible");
    readout.textContent = read(i, j);
  }
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const [y, x] = [event.clientY - box.top - head, event.clientX - box.left - rowNames];
    point(Math.floor(y / cell), Math.floor(x / cell));
  });
  scroll.addEventListener("keydown", (event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const [down, right] = moves[event.key];
    if (at) point(at[0] + down, at[1] + right);
    else point(0, 0);
    cursor.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
}
