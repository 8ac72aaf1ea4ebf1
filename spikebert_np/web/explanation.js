// The page of `spikebert explore`, and of the file that `spikebert explain --out` writes: that one
// holds its explanation, and asks nobody. What a user wrote is set as text, never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const model = data.model;
const byId = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en", { maximumSignificantDigits: 3 });
const count = (value) => value.toLocaleString("en");

function drawFacts(place, found) {
  const probabilities = found.probabilities.map((p, i) => `${model.classes[i]} ${p.toFixed(3)}`);
  const spikes = found.layers.flatMap((layer) => layer.spikes).reduce((a, b) => a + b, 0);
  const energies = Object.entries(found.theoretical_millijoules)
    .map(([rule, energy]) => `${rule.replace("_", " ")} ${number(energy)}`);
  const facts = [
    ["Probabilities", probabilities.join(", ")],
    ["Margin", `${found.margin.toFixed(2)} logits over the next class`],
    ["Read with", `T = ${found.steps} time steps, threshold ${number(found.threshold)}`],
    ["Spikes", `${count(spikes)}: ${(100 * found.firing_rate).toFixed(1)} % of the neurons fire`],
    ["Theoretical energy", `${energies.join(", ")} mJ: see spikebert energy`],
  ];
  place.replaceChildren(...facts.map(([name, value]) => {
    const head = element("th", { scope: "row", textContent: name });
    return element("tr", {}, head, element("td", { textContent: value }));
  }));
}

function drawParts(place, found, top) {
  const rows = found.tokens.map((token, i) => {
    const part = found.parts[i];
    const decides = found.answers_without[i] !== found.answer;
    const bar = element("span", { className: part < 0 ? "against" : "" });
    bar.style.width = `${(50 * Math.abs(part)) / top}%`;
    bar.style[part < 0 ? "right" : "left"] = "50%";
    const zero = element("i");
    zero.style.left = "50%";
    const size = (part < 0 ? "−" : "+") + Math.abs(part).toFixed(2);
    const without = decides ? `→ ${model.classes[found.answers_without[i]]}` : "";
    return element("tr", { className: decides ? "decides" : "" },
      element("th", { scope: "row", textContent: token }),
      element("td", { className: "bar" }, element("div", { className: "track" }, bar, zero)),
      element("td", { className: "number", textContent: size }),
      element("td", { textContent: without }));
  });
  place.replaceChildren(element("table", {}, element("tbody", {}, ...rows)));
}

const panels = [];

function makePanel(name, index) {
  const section = byId("panel").content.cloneNode(true).firstElementChild;
  const part = (selector) => section.querySelector(selector);
  const input = part("textarea");
  input.id = `sentence-${index}`;
  part("label").htmlFor = input.id;
  part("label").textContent = name;
  byId("panels").append(section);
  const panel = { part, input, found: null, request: null, busy: false, timer: 0 };
  panels.push(panel);
  return panel;
}

function say(panel, text, fault = false) {
  panel.part(".status").textContent = text;
  panel.part(".status").classList.toggle("fault", fault);
}

function report(panel) {
  const { tokens, truncated } = panel.found;
  const cut = `Cut: the student takes ${model.max_tokens} at most, and did not read the rest.`;
  say(panel, `${tokens.length} tokens. ${truncated ? cut : ""}`, truncated);
}

function askSoon(panel) {
  clearTimeout(panel.timer);
  panel.timer = setTimeout(() => ask(panel), 250);
}

// Ask the server for what is in the panel's field; an older question of the panel's is dropped.
async function ask(panel) {
  clearTimeout(panel.timer);
  panel.request?.abort();
  const request = (panel.request = new AbortController());
  const sentence = panel.input.value;
  if (!sentence.trim()) {
    Object.assign(panel, { found: null, busy: false });
    say(panel, "Type a sentence: the answer appears as you type.");
    draw();
    return;
  }
  panel.busy = true;
  panel.part(".result").setAttribute("aria-busy", true);
  say(panel, "Reading …");
  try {
    const asked = { sentence, steps: Number(byId("steps").value), threshold: threshold() };
    const response = await fetch("/explain", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(asked),
      signal: request.signal,
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    panel.found = answer;
    report(panel);
  } catch (error) {
    if (request.signal.aborted) return;
    panel.found = null;
    const gone = error instanceof TypeError; // what fetch throws where nobody listens
    say(panel, gone ? "No answer: does `spikebert explore` still run?" : error.message, true);
  }
  panel.busy = false;
  draw();
}

// Both panels anew, on one scale, so that they can be compared.
function draw() {
  const all = panels.map((panel) => panel.found).filter(Boolean);
  const greatest = (numbers) => all.reduce((top, found) => Math.max(top, ...numbers(found)), 0);
  const tops = {
    parts: greatest((found) => found.parts.map(Math.abs)) || 1,
    rate: greatest((found) => found.layers.flatMap((layer) => rates(layer, found))) || 1,
    attention: greatest((found) => attention(found).map((row) => Math.max(...row))) || 1,
  };
  for (const panel of panels) drawPanel(panel, tops);
}

// Percent of a layer's neurons that fire, for each token.
function rates(layer, found) {
  return layer.spikes.map((spikes) => (100 * spikes) / (layer.neurons * found.steps));
}

// The map of the chosen block and head, or of the sum of its heads; [] without attention.
function attention(found) {
  const heads = found.attention[Number(byId("layer").value)];
  if (!heads) return [];
  const head = byId("head").value;
  if (head !== "all") return heads[Number(head)];
  return heads[0].map((row, i) => row.map((_, j) => heads.reduce((sum, map) => sum + map[i][j], 0)));
}

function drawPanel({ found, part, busy }, tops) {
  const result = part(".result");
  result.hidden = !found;
  result.setAttribute("aria-busy", busy);
  part(".answer").textContent = found ? model.classes[found.answer] : "";
  if (!found) return;
  const { tokens } = found;
  const width = part("textarea").offsetWidth;
  drawFacts(part(".facts tbody"), found);
  drawParts(part(".parts"), found, tops.parts);
  const byLayer = found.layers.map((layer) => rates(layer, found));
  drawMap(part(".rates"), {
    values: tokens.map((_, i) => byLayer.map((shares) => shares[i])),
    rows: tokens,
    columns: found.layers.map((layer) => layer.name),
    top: tops.rate,
    width,
    label: "Firing rate of each layer, a row a token",
    legend: `${number(tops.rate)} % of the layer’s neurons fire`,
    read: (i, j) => {
      const { name, neurons, spikes } = found.layers[j];
      return `${tokens[i]}, ${name}: ${count(spikes[i])} spikes, ${number(byLayer[j][i])} % of ` +
        `${neurons} neurons in ${found.steps} time steps`;
    },
  });
  const map = attention(found);
  part(".attention").hidden = !map.length;
  if (!map.length) return;
  const head = byId("head").value === "all" ? "all heads" : `head ${byId("head").value}`;
  part(".attention h2").textContent = `Attention of blocks.${byId("layer").value}, ${head}`;
  drawMap(part(".map"), {
    values: map,
    rows: tokens,
    columns: tokens,
    top: tops.attention,
    width,
    label: "Attention, a row the token that looks, a column the token looked at",
    legend: `${count(tops.attention)} spikes in common`,
    read: (i, j) => `${tokens[i]} looks at ${tokens[j]}: ${count(map[i][j])} spikes in common`,
  });
}

// The slider counts twentieths of the trained threshold, from rest.
function threshold() {
  const share = byId("threshold").value / 20;
  return share === 1 ? model.threshold : model.rest + share * (model.threshold - model.rest);
}

function showSettings() {
  const steps = Number(byId("steps").value);
  byId("steps-value").textContent = steps;
  byId("threshold-value").textContent = number(threshold());
  byId("threshold").setAttribute("aria-valuetext", number(threshold()));
  const same = steps === model.steps && threshold() === model.threshold;
  byId("trained").classList.toggle("other", !same);
  const trained = `Trained with T = ${model.steps} and threshold ${number(model.threshold)}.`;
  const others = "You read it with others, which its weights have not learnt.";
  byId("trained").textContent = same ? trained : `${trained} ${others}`;
}

function listen(panel) {
  panel.input.addEventListener("input", () => askSoon(panel));
  panel.input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault(); // a sentence is one line
      ask(panel);
    }
  });
  ask(panel);
}

function start() {
  byId("about").textContent = `${model.name}: ${model.blocks} blocks, ${model.width} wide, ` +
    `${model.steps} time steps.`;
  byId("layer").append(...Array.from({ length: model.blocks }, (_, i) =>
    element("option", { value: i, textContent: `blocks.${i}` })));
  byId("head").append(element("option", { value: "all", textContent: "all heads" }),
    ...Array.from({ length: model.heads }, (_, i) =>
      element("option", { value: i, textContent: `head ${i}` })));
  byId("layer").value = data.layer;
  byId("head").value = data.head ?? "all";
  byId("maps").hidden = !model.attention;
  byId("maps").addEventListener("change", draw);
  let timer = 0;
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's address bar comes and goes
    width = innerWidth;
    clearTimeout(timer);
    timer = setTimeout(draw, 100);
  });
  if (data.explanation) {
    byId("inference").hidden = true;
    const panel = makePanel("Sentence", 0);
    panel.input.value = data.explanation.sentence;
    panel.input.readOnly = true;
    panel.found = data.explanation;
    report(panel);
    draw();
    return;
  }
  Object.assign(byId("steps"), { max: model.most_steps, value: model.steps });
  byId("inference").addEventListener("input", () => {
    showSettings();
    panels.forEach(askSoon);
  });
  byId("as-trained").addEventListener("click", () => {
    byId("steps").value = model.steps;
    byId("threshold").value = 20;
    showSettings();
    panels.forEach(ask);
  });
  showSettings();
  ["Sentence A", "Sentence B, to compare"].forEach((name, i) => listen(makePanel(name, i)));
  panels[0].input.focus();
}

start();
