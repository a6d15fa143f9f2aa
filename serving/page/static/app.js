// The page: keeps what is chosen, asks for rankings after each change, and shows them.

import * as api from "./api.js";
import { combobox } from "./combobox.js";
import { byId, count, day, element, itemName } from "./dom.js";
import { renderHistory, used } from "./history.js";
import { renderRanking } from "./ranking.js";

const DAY = 86_400;
const WAIT = 120; // milliseconds after the last change

const state = {
  targets: [], // all served versions
  target: null,
  other: null,
  user: "",
  events: [],
  rated: [],
  newest: Math.floor(Date.now() / 1000),
  at: Math.floor(Date.now() / 1000),
  inputs: [], // of an event, beside item and time
  candidates: 1000,
  allEvents: false,
};
let results = []; // a ranking for each target, left to right
let before = []; // the places before the last change
let open = new Set(); // ids of items whose reasons are shown
let last = null; // the item that was opened last
let numbers = 0;
let timer;
let running;
let choices = 0; // of users; a slower answer for an earlier choice is dropped

function fail(error) {
  if (error.name === "AbortError") return;
  byId("problem").textContent = error.message;
  byId("problem").hidden = false;
}

const guarded =
  (action) =>
  async (...values) => {
    try {
      await action(...values);
    } catch (error) {
      fail(error);
    }
  };

function address() {
  const chosen = new URLSearchParams({ model: state.target.key });
  if (state.other) chosen.set("with", state.other.key);
  if (state.user) chosen.set("user", state.user);
  if (state.at !== state.newest) chosen.set("at", day(state.at));
  history.replaceState(null, "", `#${chosen}`);
}

// What is asked.

async function candidates() {
  const own = byId("candidates").value.split("\n").map((id) => id.trim()).filter(Boolean);
  const needed = await Promise.all(targets().map(api.usesCandidates));
  if (own.length || !needed.includes(true)) return own;
  try {
    return (await api.frequent(state.target)).slice(0, state.candidates);
  } catch (error) {
    byId("typed").hidden = false; // the server knows no items
    return [];
  }
}

const targets = () => [state.target, state.other].filter(Boolean);

function later(keepBefore = false) {
  clearTimeout(timer);
  timer = setTimeout(() => refresh(keepBefore), WAIT);
}

const refresh = guarded(async (keepBefore) => {
  running?.abort();
  const { signal } = (running = new AbortController());
  address();
  history_();
  byId("rankings").setAttribute("aria-busy", "true");
  try {
    const events = used(state);
    const had = new Set([...state.rated, ...state.events.map((event) => event.item)]);
    const asked = (await candidates()).filter((id) => !had.has(id));
    signal.throwIfAborted();
    if (!asked.length && (await Promise.all(targets().map(api.usesCandidates))).includes(true)) {
      byId("moved").textContent = "Give candidates to rank.";
      return;
    }
    const found = [];
    for (const target of targets()) {
      // One after another, so that two models do not wait for each other's turn.
      found.push(await api.ranking(target, events, state.at, asked, had, signal));
    }
    signal.throwIfAborted(); // a later change may be shown by now
    before = keepBefore && results.length === found.length ? results.map(places) : [];
    results = found;
    byId("problem").hidden = true;
    if (!open.size && results[0].top.length) open.add((last = results[0].top[0]));
    show();
  } finally {
    if (!signal.aborted) byId("rankings").removeAttribute("aria-busy");
  }
});

const places = (result) => new Map(result.order.map((id, place) => [id, place]));

// What is shown.

function show() {
  const beside = results.length === 2 ? [places(results[1]), places(results[0])] : [];
  byId("rankings").replaceChildren(
    ...results.map((result, side) =>
      renderRanking(result, targets()[side], {
        before: before[side] ?? null,
        beside: beside[side] ?? null,
        open,
        toggle(id, isOpen) {
          if (isOpen) open.add((last = id));
          else open.delete(id);
          history_();
        },
      }),
    ),
  );
  byId("rankings").dataset.columns = results.length;
  byId("moved").textContent = movement();
  const all = results.every(({ top }) => top.every((id) => open.has(id)));
  byId("reasons").setAttribute("aria-pressed", all);
  byId("reasons").textContent = all ? "Hide all reasons" : "Show all reasons";
  history_();
}

function movement() {
  const beside = results.length === 2 ? "#: the place in the other ranking." : "";
  if (!before.length) return beside;
  const top = results[0].top;
  const moved = top.filter((id, place) => before[0].get(id) !== place).length;
  return `${moved ? `${moved} of the ${top.length} items moved.` : "No item moved."} ${beside}`;
}

/** The weights of the item that was opened last, by the numbers of events; a map for each pass. */
function weightsOfLast() {
  const result = results.find(({ top, weights }) => weights.length && top.includes(last));
  if (!result || !open.has(last)) return null;
  const place = result.top.indexOf(last);
  return result.weights.map(
    (pass) => new Map(result.events.map((event, row) => [event.number, Math.abs(pass[place][row])])),
  );
}

function history_() {
  const weights = weightsOfLast();
  renderHistory(byId("events"), byId("more"), state, weights, () => later(true));
  const sent = used(state).length;
  byId("summary").textContent = `${count(state.events.length, "event")}, ${sent} used`;
  byId("at").value = day(state.at);
  byId("key").hidden = !weights;
  if (weights)
    byId("key").replaceChildren(
      "Bars: weights in ",
      ...weights.flatMap((_, pass) => [
        element("span", { className: `key pass-${pass + 1}` }, `pass ${pass + 1}`),
        " ",
      ]),
      "for ",
      api.item(state.target, last).title || last,
    );
  byId("request").textContent = `POST /${state.target.path}:predict`;
}

// What is chosen.

/** Shows the history of a user, or of one that is promised. False if another choice came after. */
async function readUser(promised) {
  const choice = ++choices;
  byId("user-status").textContent = "Reading the ratings …";
  try {
    const user = await promised;
    const found = await api.history(state.target, user);
    await api.describe(state.target, found.events.map((event) => event.item));
    if (choice !== choices) return false;
    Object.assign(state, { user, rated: found.rated, newest: found.newest, at: found.newest });
    state.events = found.events.map((event) => ({ ...event, on: true, number: numbers++ }));
    state.allEvents = false;
    [open, last] = [new Set(), null];
    byId("user-status").textContent = user;
    later();
    return true;
  } catch (error) {
    if (choice !== choices) return false;
    byId("user-status").textContent = state.user;
    throw error;
  }
}

const chooseUser = guarded(readUser);

const addEvent = guarded(async (item) => {
  await api.describe(state.target, [item]);
  state.events.push({ item, time: state.at, values: {}, on: true, added: true, number: numbers++ });
  later(true);
});

function chooseTime(seconds) {
  if (Number.isNaN(seconds)) return; // the address may hold any text
  state.at = Math.max(seconds, DAY);
  later(true);
}

const chooseModels = guarded(async () => {
  const find = (id) => state.targets.find(({ key }) => key === byId(id).value);
  [state.target, state.other] = [find("model"), find("other") ?? null];
  [open, last] = [new Set(), null];
  const { target } = state;
  const inputs = api.eventInputs((await api.signatures(target)).rank ?? {});
  if (target !== state.target) return; // another choice came after
  state.inputs = inputs;
  await api.describe(target, state.events.map((event) => event.item));
  later();
});

function wire() {
  for (const id of ["model", "other"]) byId(id).addEventListener("change", chooseModels);
  combobox(byId("user"), {
    search: (text, signal) => api.users(state.target, text, signal),
    show: ({ user, events }) =>
      element("span", {}, user, element("span", { className: "quiet" }, ` ${count(events, "event")}`)),
    choose: ({ user }) => chooseUser(user),
    fail,
  });
  combobox(byId("add"), {
    async search(text, signal) {
      const found = await api.items(state.target, text, signal).catch((error) => {
        if (error instanceof api.ServerError) return []; // an id can be typed without data
        throw error;
      });
      const typed = text && !found.some(({ item }) => item === text);
      return typed ? [...found, { item: text, about: "as typed" }] : found;
    },
    show: itemName,
    choose: ({ item }) => addEvent(item),
    fail,
  });
  byId("any").addEventListener("click", () => chooseUser(api.anyUser(state.target)));
  byId("at").addEventListener("change", ({ target }) => {
    if (target.valueAsNumber) chooseTime(target.valueAsNumber / 1000);
  });
  for (const button of document.querySelectorAll("[data-days]"))
    button.addEventListener("click", () => chooseTime(state.at + button.dataset.days * DAY));
  byId("newest").addEventListener("click", () => chooseTime(state.newest));
  const useAll = (on) => () => {
    for (const event of state.events) event.on = on;
    later(true);
  };
  byId("all").addEventListener("click", useAll(true));
  byId("none").addEventListener("click", useAll(false));
  byId("empty").addEventListener("click", () => {
    choices += 1; // the history that is read now is not shown
    Object.assign(state, { user: "", events: [], rated: [] });
    byId("user-status").textContent = "";
    later(true);
  });
  byId("candidates").addEventListener("input", () => later());
  byId("reasons").addEventListener("click", () => {
    const all = byId("reasons").getAttribute("aria-pressed") !== "true";
    open = new Set(all ? results.flatMap(({ top }) => top) : []);
    last = all ? (results[0]?.top[0] ?? null) : null;
    show();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=checkbox]), textarea, select");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      "/": () => byId("add").focus(),
      u: () => byId("user").focus(),
      r: () => byId("any").click(),
      "[": () => chooseTime(state.at - 30 * DAY),
      "]": () => chooseTime(state.at + 30 * DAY),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
}

function fillModels({ models, candidates: most }) {
  state.candidates = most;
  state.targets = models.flatMap(({ name, versions, labels }) =>
    versions.map((version) => ({
      name,
      version,
      key: `${name}/${version}`,
      path: `v1/models/${name}/versions/${version}`,
      labels: Object.keys(labels).filter((label) => labels[label] === version),
    })),
  );
  const options = state.targets.map(({ key, name, version, labels }) =>
    element("option", { value: key }, [name, version, ...labels].join(" · ")),
  );
  byId("model").replaceChildren(...options);
  byId("other").replaceChildren(
    element("option", { value: "" }, "nothing"),
    ...options.map((option) => option.cloneNode(true)),
  );
  byId("other").disabled = state.targets.length < 2;
  byId("hint").hidden = state.targets.length !== 1;
  byId("hint").textContent =
    "One version is served. To compare two: make serve ARGS=--versions=2, or push another model.";
}

guarded(async () => {
  wire();
  fillModels(await api.models());
  if (!state.targets.length) throw new api.ServerError("No version of a model is served yet.");
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const [id, name] of [["model", "model"], ["other", "with"]])
    if (state.targets.some(({ key }) => key === asked.get(name))) byId(id).value = asked.get(name);
  await chooseModels();
  clearTimeout(timer); // the first ranking is that of a user
  const at = Math.floor(Date.parse(asked.get("at")) / 1000);
  try {
    if (await readUser(asked.get("user") ?? api.anyUser(state.target))) chooseTime(at);
  } catch (error) {
    byId("user-status").textContent = error.message;
    later(); // a history can be put together without a user
    chooseTime(at);
    const choosable = await api.anyUser(state.target).then(Boolean, () => false);
    byId("user").disabled = byId("any").disabled = !choosable;
  }
})();
