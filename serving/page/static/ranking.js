// A ranking: the items with scores, how far they moved, and the events that weighed in each pass.

import { item } from "./api.js";
import { bar, count, day, element, itemName } from "./dom.js";

const EVENTS = 3; // shown for each pass

/**
 * @param result what `ranking` of api.js gave
 * @param target its model and version
 * @param view `before`: places of the ranking before by id, or null; `beside`: places in the other
 *     ranking, or null; `open`: ids that are open; `toggle(id, open)` is called for one
 */
export function renderRanking(result, target, view) {
  const rows = result.top.map((id, place) => row(result, target, view, id, place));
  const facts = [
    result.of,
    count(result.events.length, "event"),
    `${Math.round(result.milliseconds)} ms`,
  ];
  return element(
    "article",
    { className: "ranking", "aria-label": `${target.name}, version ${target.version}` },
    element(
      "h3",
      {},
      target.name,
      element("span", { className: "quiet" }, ` version ${target.version}`),
    ),
    element("p", { className: "quiet" }, facts.join(" · ")),
    element("ol", {}, ...rows),
    result.weights.length || !result.events.length
      ? null
      : element("p", { className: "quiet" }, "This model has no attention weights to show."),
  );
}

function row(result, target, view, id, place) {
  const score = result.scores[place];
  const summary = element(
    "summary",
    {},
    element("span", { className: "place" }, String(place + 1)),
    view.before || view.beside
      ? element("span", { className: "moves" }, ...moves(view, id, place))
      : null,
    itemName(item(target, id)),
    element("span", { className: "score" }, score.toFixed(4), bar(score, "of-score")),
  );
  const details = element(
    "details",
    { open: view.open.has(id) },
    summary,
    reasons(result, target, place),
    result.firstStage
      ? element("p", { className: "quiet inside" }, `Place ${result.firstStage[place]} in the first stage.`)
      : null,
  );
  // A click, also by keyboard, comes before the change. `toggle` events come later than new rankings.
  summary.addEventListener("click", () => view.toggle(id, !details.open));
  const made = element("li", {}, details);
  made.dataset.item = id;
  return made;
}

function moves({ before, beside }, id, place) {
  const made = [];
  if (before) {
    const old = before.get(id);
    if (old === undefined) made.push(element("span", { className: "up" }, "new"));
    else if (old !== place) {
      const up = old > place;
      const steps = Math.abs(old - place);
      const words = `${steps} ${up ? "up" : "down"}`;
      made.push(
        element(
          "span",
          { className: up ? "up" : "down", title: words, role: "img", "aria-label": words },
          `${up ? "▲" : "▼"}${steps}`,
        ),
      );
    }
  }
  if (beside) {
    const there = beside.has(id) ? `#${beside.get(id) + 1}` : "–";
    made.push(
      element("span", { className: "quiet", title: "place in the other ranking" }, there),
    );
  }
  return made;
}

/** For each pass, the events with the largest weights. */
function reasons(result, target, place) {
  const { weights, events } = result;
  if (!weights.length)
    return element(
      "p",
      { className: "quiet inside" },
      events.length ? "No attention weights." : "No events: the score is that of the item alone.",
    );
  return element(
    "div",
    { className: "reasons" },
    ...weights.map((pass, number) => {
      const row = pass[place];
      const order = row
        .map((_, event) => event)
        .filter((event) => row[event])
        .sort((one, other) => Math.abs(row[other]) - Math.abs(row[one]))
        .slice(0, EVENTS);
      const most = Math.abs(row[order[0]]) || 1;
      const total = row.reduce((sum, weight) => sum + weight, 0);
      return element(
        "section",
        { className: `pass-${number + 1}` },
        element(
          "h4",
          {},
          `Pass ${number + 1}`,
          element("span", { className: "quiet" }, ` mean of all ${(total / row.length).toFixed(3)}`),
        ),
        element(
          "ol",
          {},
          ...order.map((event) =>
            element(
              "li",
              {},
              element(
                "span",
                { className: "weight" },
                row[event].toFixed(3),
                bar(Math.abs(row[event]) / most),
              ),
              element(
                "span",
                { className: "what" },
                item(target, events[event].item).title || events[event].item,
                element("span", { className: "quiet" }, ` ${day(events[event].time)}`),
              ),
            ),
          ),
        ),
      );
    }),
  );
}
