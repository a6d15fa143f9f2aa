// Asks the server: TF Serving's REST calls for scores, /imn/ for users and items.

const TOP = 10;
const DESCRIBED = 100; // ids in a request, so that its line stays short
const HISTORY = ["history_item", "history_time", "history_length"];

/** An answer that is no success, with what the server says. */
export class ServerError extends Error {}

async function ask(path, body, signal) {
  let answer;
  try {
    answer = await fetch(path, {
      signal,
      method: body ? "POST" : "GET",
      body: body && JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server does not answer. Is it still running?");
  }
  let values;
  try {
    values = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(`The server answered ${answer.status} without JSON.`);
  }
  if (!answer.ok) throw new ServerError(`The server answered ${answer.status}: ${values.error}`);
  return values;
}

const once = new Map();

/** Keeps an answer that does not change while a version is served; an error is asked again. */
function cached(key, make) {
  if (!once.has(key)) once.set(key, make().catch((error) => (once.delete(key), Promise.reject(error))));
  return once.get(key);
}

export const models = () => ask("imn/models");

const data = (name, target, values = {}, signal = undefined) => {
  const query = new URLSearchParams({ model: target.name, version: target.version });
  for (const [key, value] of Object.entries(values))
    for (const each of [value].flat()) query.append(key, each);
  return ask(`imn/${name}?${query}`, undefined, signal);
};

export const users = (target, query, signal) => data("users", target, { query }, signal);
export const anyUser = async (target) => (await data("users", target, { any: 1 }))[0].user;
export const history = (target, id) => data("user", target, { id });
export const items = (target, query, signal) => data("items", target, { query }, signal);
export const frequent = (target) =>
  cached(`frequent ${target.key}`, () => data("frequent", target));

const described = new Map();

/** Adds title and attributes to what is remembered of some ids. Without data, ids are all there is. */
export async function describe(target, ids) {
  const fresh = [...new Set(ids)].filter((id) => !described.has(`${target.key} ${id}`));
  for (let start = 0; start < fresh.length; start += DESCRIBED) {
    const id = fresh.slice(start, start + DESCRIBED);
    const found = await data("items", target, { id }).catch((error) => {
      if (error instanceof ServerError) return id.map((item) => ({ item, known: true }));
      throw error;
    });
    for (const item of found) described.set(`${target.key} ${item.item}`, item);
  }
}

export const item = (target, id) =>
  described.get(`${target.key} ${id}`) ?? { item: id, title: "", about: "", known: true };

/** The inputs of each signature of a version, by name. */
export const signatures = (target) =>
  cached(`signatures ${target.key}`, async () => {
    const answer = await ask(`${target.path}/metadata`);
    const found = {};
    for (const [name, { inputs }] of Object.entries(answer.metadata.signature_def.signature_def))
      found[name] = inputs;
    return found;
  });

/** The inputs beside item and time that each event has. */
export const eventInputs = (signature) =>
  Object.keys(signature).filter((name) => name.startsWith("history_") && !HISTORY.includes(name));

function inputs(signature, events, at, rest) {
  const values = {
    history_item: [events.map((event) => event.item)],
    history_time: [events.map((event) => event.time)],
    history_length: [events.length],
    request_time: [at],
    ...rest,
  };
  for (const name of eventInputs(signature))
    values[name] = [events.map((event) => event.values[name] ?? "")];
  return values;
}

async function predict(target, name, values, signal) {
  const body = { signature_name: name, inputs: values };
  return (await ask(`${target.path}:predict`, body, signal)).outputs;
}

/**
 * The best items that the user has not had.
 *
 * A model with the signature `recommend` is asked for the best of its whole catalogue. Others rank
 * the candidates.
 *
 * @returns best first: `order` of ids, `scores`, and `firstStage`, the places in the first stage, if
 *     there is one; `of` says what they are the best of
 */
export async function best(target, events, at, candidates, excluded, signal) {
  const found = await signatures(target);
  const start = performance.now();
  if (!found.recommend) {
    if (!candidates.length) throw new ServerError("There are no candidates to rank.");
    const scores = (
      await predict(target, "rank", inputs(found.rank, events, at, { candidates: [candidates] }), signal)
    )[0];
    const places = scores.map((_, place) => place).sort((a, b) => scores[b] - scores[a] || a - b);
    return {
      order: places.map((place) => candidates[place]),
      scores: places.map((place) => scores[place]),
      of: `${candidates.length.toLocaleString("en")} candidates`,
      milliseconds: performance.now() - start,
    };
  }
  const k = TOP + excluded.size; // so that ten are left without those that the user has had
  const asked = inputs(found.recommend, events, at, { k: [k] });
  // Both stages decide the order; what is shown are the probabilities, as those of `rank`.
  const { items, probabilities, first_stage } = await predict(target, "recommend", asked, signal);
  // An answer with fewer items is filled with the id "".
  const kept = items[0].map((_, place) => place).filter((place) => {
    const id = items[0][place];
    return id && !excluded.has(id);
  });
  return {
    order: kept.map((place) => items[0][place]),
    scores: kept.map((place) => probabilities[0][place]),
    firstStage: kept.map((place) => first_stage[0][place]),
    of: "the whole catalogue",
    milliseconds: performance.now() - start,
  };
}

export const usesCandidates = async (target) => !(await signatures(target)).recommend;

/** Ranking with the attention weights of the first items, by pass, item and event; none: []. */
export async function ranking(target, events, at, candidates, excluded, signal) {
  const found = await best(target, events, at, candidates, excluded, signal);
  const top = found.order.slice(0, TOP);
  const { explain } = await signatures(target);
  let weights = [];
  if (explain && events.length && top.length) {
    const asked = inputs(explain, events, at, { candidates: [top] });
    weights = (await predict(target, "explain", asked, signal)).attention[0];
  }
  await describe(target, [...top, ...events.map((event) => event.item)]);
  return { ...found, top, weights, events };
}
