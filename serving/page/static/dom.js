// Small helpers for the document. Texts are only ever set as text, never as HTML.

export const byId = (id) => document.getElementById(id);

/** An element with properties, classes and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

/** A bar of a share from 0 to 1. It repeats a number that stands beside it. */
export function bar(share, className = "") {
  const made = element("span", { className: `bar ${className}`, "aria-hidden": "true" });
  made.style.setProperty("--share", Math.max(0, Math.min(1, share)));
  return made;
}

export const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

export const count = (number, noun) =>
  `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/** Title, attributes and id of an item, as far as they are known. */
export function itemName(item) {
  const id = item.title && !item.title.includes(item.item) ? item.item : "";
  return element(
    "span",
    { className: "item" },
    element("span", { className: "title" }, item.title || item.item),
    element(
      "span",
      { className: "quiet" },
      [id, item.about].filter(Boolean).join(" · "),
    ),
  );
}
