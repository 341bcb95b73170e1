/** Builds elements. Text is only ever set as text, so markup in an event is never interpreted. */
const SVG = "http://www.w3.org/2000/svg";

export const find = (id) => document.getElementById(id);

export function element(tag, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

/** One of the symbols of index.html; the text beside it has the same meaning, so screen readers skip it. */
export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  drawing.append(use);
  return drawing;
}

/** Places an element by numbers that the style sheet calculates with. */
export function place(placed, numbers) {
  for (const [name, value] of Object.entries(numbers)) placed.style.setProperty(`--${name}`, value);
  return placed;
}
