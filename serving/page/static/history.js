// The list of events, newest first, with a box to use or leave out each of them.

import { item } from "./api.js";
import { bar, day, element, itemName } from "./dom.js";

const SHOWN = 60; // events at first

/** The events that are sent: those in use and not after the request, oldest first. */
export const used = (state) =>
  state.events
    .filter((event) => event.on && event.time <= state.at)
    .sort((one, other) => one.time - other.time || one.number - other.number);

/**
 * @param list an `ol`
 * @param more the button for the rest
 * @param state events, the time of the request, the model, names of further inputs
 * @param weights rows of weights, a row for each pass, by event; of the item that is open
 * @param change is called after a change of an event
 */
export function renderHistory(list, more, state, weights, change) {
  const newestFirst = [...state.events].sort(
    (one, other) => other.time - one.time || other.number - one.number,
  );
  const shown = state.allEvents ? newestFirst : newestFirst.slice(0, SHOWN);
  const most = weights ? weights.map((row) => Math.max(...row.values(), 1e-9)) : [];
  list.replaceChildren(...shown.map((event) => row(event, state, weights, most, change)));
  more.hidden = shown.length === newestFirst.length;
  more.textContent = `Show all ${newestFirst.length} events`;
  more.onclick = () => {
    state.allEvents = true;
    renderHistory(list, more, state, weights, change);
  };
}

function row(event, state, weights, most, change) {
  const about = item(state.target, event.item);
  const later = event.time > state.at;
  const box = element("input", { type: "checkbox", checked: event.on, disabled: later });
  box.addEventListener("change", () => {
    event.on = box.checked;
    change();
  });
  const notes = [later && "after the request", !about.known && "unknown to this model"];
  const label = element(
    "label",
    {},
    box,
    itemName(about),
    element("span", { className: "quiet" }, notes.filter(Boolean).join(", ")),
  );
  const made = element("li", { className: event.on && !later ? "" : "unused" }, label);
  made.dataset.item = event.item;
  if (weights)
    made.append(
      element(
        "span",
        { className: "weights" },
        ...weights.map((of, pass) => {
          const weight = of.get(event.number) ?? 0;
          const one = bar(weight / most[pass], `pass-${pass + 1}`);
          one.title = `pass ${pass + 1}: ${weight.toFixed(3)}`;
          return one;
        }),
      ),
    );
  made.append(event.added ? editor(event, state, change) : element("time", {}, day(event.time)));
  return made;
}

/** The date, the values and a way out for an event that was added by hand. */
function editor(event, state, change) {
  const date = element("input", { type: "date", value: day(event.time), "aria-label": "Day" });
  date.addEventListener("change", () => {
    if (date.valueAsNumber) event.time = date.valueAsNumber / 1000;
    change();
  });
  const values = state.inputs.map((name) => {
    const field = element("input", {
      value: event.values[name] ?? "",
      placeholder: name.replace("history_", ""),
      "aria-label": name.replace("history_", ""),
      size: 8,
    });
    field.addEventListener("change", () => {
      event.values[name] = field.value;
      change();
    });
    return field;
  });
  const remove = element("button", { type: "button", "aria-label": "Remove" }, "×");
  remove.addEventListener("click", () => {
    state.events = state.events.filter((other) => other !== event);
    change();
  });
  return element("span", { className: "row editor" }, ...values, date, remove);
}
