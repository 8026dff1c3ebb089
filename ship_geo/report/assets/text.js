// Elements and numbers as text. Whatever a user wrote becomes a text node, never HTML.
const byId = (id) => document.getElementById(id);
const record = JSON.parse(byId("assessment").textContent);
const sheet = JSON.parse(byId("sheet").textContent);

const SVG = "http://www.w3.org/2000/svg";

const fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};
const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

const GREEK = { lambda: "λ", rho: "ρ", s: "S", S: "S" };
const OWN = record.methods[0];
const FLOOR = "exp";
const tiles = record.tiles ?? null;

// "D_lambda,K" -> ["D", "λ,K"]
const titleParts = (name) => {
  const [stem, ...rest] = (record.indices[name]?.title ?? name).split("_");
  return [stem, rest.join("_").split(",").map((part) => GREEK[part] ?? part).join(",")];
};
const titleText = (name) => titleParts(name).join("");
const titleNodes = (name) => {
  const [stem, below] = titleParts(name);
  return below ? [stem, el("sub", {}, below)] : [stem];
};
const methodText = (method) => (method === OWN ? "Sharpened" : method === FLOOR ? "MS interpolated" : method);

const digits = (name) => {
  const fact = record.indices[name];
  if (fact.unit === "dB" || fact.unit === "DN") return 2;
  return fact.unit || name.endsWith("ergas") ? 3 : 4;
};
const number = (name, value) => (value === null || value === undefined ? "–" : value.toFixed(digits(name)));
const unitText = (name) => ({ degree: "°" }[record.indices[name].unit] ?? record.indices[name].unit);
const withUnit = (name, value) => {
  const unit = unitText(name);
  return value === null || value === undefined || !unit ? number(name, value) : `${number(name, value)}${unit === "°" ? "" : " "}${unit}`;
};
const percent = (share) => {
  if (share === null || share === undefined) return "–";
  const shown = (share * 100).toFixed(share > 0.999 && share < 1 ? 3 : 1);
  return `${shown.replace(/\.0+$/, "")} %`;
};
const count = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
const ordinal = (n) => `${n}${n % 100 > 10 && n % 100 < 14 ? "th" : ({ 1: "st", 2: "nd", 3: "rd" }[n % 10] ?? "th")}`;
const isBetter = (name, one, other) => (record.indices[name].direction === "up" ? one > other : one < other);
const goal = (name) => {
  const { ideal, direction } = record.indices[name];
  return ideal === null ? "higher is better" : direction === "up" ? `${ideal} is ideal, higher is better` : `${ideal} is ideal, lower is better`;
};
