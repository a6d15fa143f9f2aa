// A text field with suggestions, by mouse, touch or keyboard (the ARIA pattern of a combobox).

import { element } from "./dom.js";

const WAIT = 150; // milliseconds after the last key

/**
 * @param input the field, inside an element of its own
 * @param search takes text and an AbortSignal; gives options
 * @param show turns an option into an element
 * @param choose is called with the option that was taken
 * @param fail is called with an error
 */
export function combobox(input, { search, show, choose, fail }) {
  const list = element("ul", { id: `${input.id}-options`, role: "listbox", hidden: true });
  list.setAttribute("aria-label", "Suggestions");
  input.after(list);
  for (const [name, value] of Object.entries({
    role: "combobox",
    "aria-expanded": "false",
    "aria-controls": list.id,
    "aria-autocomplete": "list",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
  }))
    input.setAttribute(name, value);

  let options = [];
  let active = -1;
  let shown = null; // the text whose options are shown
  let timer;
  let running;

  function close() {
    shown = null;
    clearTimeout(timer);
    running?.abort();
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark(place) {
    active = place;
    [...list.children].forEach((row, index) => row.setAttribute("aria-selected", index === place));
    const row = list.children[place];
    if (!row) return;
    input.setAttribute("aria-activedescendant", row.id);
    row.scrollIntoView({ block: "nearest" });
  }

  function take(place) {
    const option = options[place];
    if (!option) return;
    input.value = "";
    close();
    choose(option);
  }

  async function open(takeFirst = false) {
    clearTimeout(timer);
    running?.abort();
    const asked = (running = new AbortController());
    const text = input.value.trim();
    try {
      const found = await search(text, asked.signal);
      if (asked.signal.aborted || document.activeElement !== input) return;
      [options, shown] = [found, text];
      if (takeFirst && options.length) return take(0);
      list.replaceChildren(
        ...options.map((option, place) => {
          const row = element("li", { id: `${list.id}-${place}`, role: "option" }, show(option));
          // `mousedown` comes before the field loses the focus and the list closes.
          row.addEventListener("mousedown", (event) => event.preventDefault());
          row.addEventListener("click", () => take(place));
          return row;
        }),
      );
      if (!options.length)
        list.append(element("li", { className: "quiet", role: "presentation" }, "Nothing found"));
      list.hidden = false;
      input.setAttribute("aria-expanded", "true");
      mark(options.length && input.value ? 0 : -1);
    } catch (error) {
      if (error.name !== "AbortError") fail(error);
    }
  }

  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(() => open(), WAIT);
  };
  input.addEventListener("input", later);
  input.addEventListener("focus", later);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps && list.hidden) open();
    else if (event.key in steps && options.length)
      mark((active + steps[event.key] + options.length) % options.length);
    else if (event.key === "Enter" && shown === input.value.trim()) take(Math.max(active, 0));
    else if (event.key === "Enter" && input.value.trim()) open(true);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
}
