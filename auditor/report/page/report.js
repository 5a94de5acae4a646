"use strict";
// Every text of a run reaches the page through textContent, so none of it can become markup.
const $ = (id) => document.getElementById(id);
const el = (tag, cls, text) => {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined && text !== "") node.textContent = text;
  return node;
};
const [TARGET, SET, TRIAL, OUTCOME, SYMBOL, LABEL, GROUP, REGIME, SPLIT, CLAIM, TRUTH, SURE, CALLS, SECONDS] = Array(14).keys();

async function unpack(node) {
  const raw = atob(node.textContent.trim());
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

// In a pack, strings that recur stand apart; "~" with a place in base 36 stands for one of them.
function resolve(value, strings) {
  if (typeof value === "string") {
    if (value[0] !== "~") return value;
    return value[1] === "~" ? value.slice(1) : strings[parseInt(value.slice(1), 36)];
  }
  if (Array.isArray(value)) return value.map((one) => resolve(one, strings));
  if (value === null || typeof value !== "object") return value;
  const found = {};
  for (const [name, one] of Object.entries(value)) found[name] = resolve(one, strings);
  return found;
}
async function unpackTrials(pack) {
  const [strings, trials] = await unpack(pack);
  return trials.map((one) => resolve(one, strings));
}

let lines = [];
let rows = [];
let open = -1;
let wanted = 0;
const cache = new Map();

async function trialsOf(pack) {
  if (!cache.has(pack)) {
    // A few packs are kept, so that going back and forth is quick and memory stays small.
    if (cache.size > 5) cache.delete(cache.keys().next().value);
    cache.set(pack, unpackTrials(pack));
  }
  return cache.get(pack);
}

const packs = () => [...document.querySelectorAll(".pack")];

async function story(n) {
  const pack = packs().find((one) => n >= +one.dataset.first && n < +one.dataset.first + +one.dataset.count);
  if (!pack) throw new Error("this file was cut off: trial " + (n + 1) + " is not in it");
  return (await trialsOf(pack))[n - +pack.dataset.first];
}

// The list and its filters.
const FILTERS = [["by-tools", SET], ["by-outcome", LABEL], ["by-group", GROUP], ["by-regime", REGIME], ["by-split", SPLIT]];
let inside = null; // Trials whose transcripts hold the search text, when it was looked for there.

function fillFilters() {
  for (const [id, field] of FILTERS) {
    const values = [...new Set(lines.map((line) => line[field]))].filter(Boolean);
    if (field !== SET) values.sort();
    for (const value of values) {
      const option = el("option", "", value);
      option.value = value;
      $(id).append(option);
    }
    $(id).closest("label").hidden = values.length < 2;
    $(id).addEventListener("change", filter);
  }
}

function rowOf(line, n) {
  const row = el("button", "row");
  row.type = "button";
  row.dataset.n = n;
  const mark = el("span", "mark o-" + line[OUTCOME].replace(" ", "-"), line[SYMBOL]);
  mark.title = line[LABEL];
  const who = el("span", "who", line[TARGET] + " ");
  who.append(el("span", "set", "· " + line[SET] + " · " + line[TRIAL]));
  const sure = line[SURE] === null ? "" : Math.round(100 * line[SURE]) + " %  ";
  row.append(mark, who, el("span", "claim", line[LABEL] + ": " + sure + line[CLAIM]));
  return row;
}

function matches(line, n, words) {
  for (const [id, field] of FILTERS) if ($(id).value && line[field] !== $(id).value) return false;
  if (!words) return true;
  if (inside) return inside.has(n);
  return [TARGET, SET, LABEL, CLAIM, TRUTH, REGIME].some((field) => line[field].toLowerCase().includes(words));
}

function filter() {
  const words = $("search").value.trim().toLowerCase();
  let shown = 0;
  rows.forEach((row, n) => {
    row.hidden = !matches(lines[n], n, words);
    if (!row.hidden) shown++;
  });
  $("count").textContent = shown + " of " + lines.length + " trials";
}

const holds = (value, words) =>
  typeof value === "string" ? value.toLowerCase().includes(words)
    : Array.isArray(value) ? value.some((one) => holds(one, words))
      : value !== null && typeof value === "object" && Object.entries(value).some(([key, one]) => key !== "k" && holds(one, words));

let searches = 0;
async function search() {
  const words = $("search").value.trim().toLowerCase();
  const mine = ++searches;
  inside = null;
  if (!words || !$("deep").checked) return filter();
  const found = new Set();
  for (const pack of packs()) {
    const trials = await unpackTrials(pack);
    if (mine !== searches) return;
    trials.forEach((one, at) => {
      const n = +pack.dataset.first + at;
      if (holds(one, words) || holds(lines[n], words)) found.add(n);
    });
    $("count").textContent = "searching: " + (+pack.dataset.first + trials.length) + " of " + lines.length + " trials read";
    await new Promise((next) => setTimeout(next));
  }
  inside = found;
  filter();
}

// One trial.
const evidence = (ids) => {
  const cell = el("span");
  for (const id of ids) {
    const link = el("button", "ev", id);
    link.type = "button";
    link.dataset.to = id;
    link.title = "show " + id;
    cell.append(link);
  }
  return cell;
};

const MOVES = { new: "+", up: "▲", down: "▼", same: "·" };
function hypotheses(some) {
  const table = el("table", "ledger");
  const head = el("tr");
  for (const title of ["#", "sure", "kind", "hypothesis", "evidence"]) head.append(el("th", "", title));
  table.append(head);
  some.forEach((one, at) => {
    const row = el("tr");
    const rank = el("td", one.m, (at + 1) + " " + (MOVES[one.m] || ""));
    const said = el("td", "", one.t);
    if (one.when) said.append(el("div", "rest", "when: " + one.when));
    if (one.shown) said.append(el("div", "rest", "shown: " + one.shown));
    for (const other of one.or || []) said.append(el("div", "rest", "alternative: " + other));
    const cited = el("td");
    cited.append(evidence(one.e));
    row.append(rank, el("td", "", one.c), el("td", "rest", one.kind), said, cited);
    table.append(row);
  });
  return table;
}

function speech(some, cls) {
  const cell = el("div");
  for (const one of some) {
    const said = el("div", "said " + cls);
    if (Array.isArray(one)) {
      said.append(el("span", "prefill", one[1]), document.createTextNode(one[0] || "(nothing)"));
    } else {
      said.append(document.createTextNode(one || "(nothing)"));
    }
    cell.append(said);
  }
  return cell;
}

function item(one) {
  const box = el("div", "item");
  if (one.g) box.append(el("div", "", one.g));
  if (one.p) box.append(speech(one.p, "user"));
  const both = el("div", one.a && one.b ? "both" : "");
  if (one.a) both.append(speech(one.a, "target"));
  if (one.b) both.append(speech(one.b, "baseline"));
  box.append(both);
  const rest = [one.cut ? "cut at max_tokens" : "", one.r || ""].filter(Boolean).join(" · ");
  if (rest) box.append(el("div", "rest", rest));
  return box;
}

const GRADES = ["high", "middle", "low", "unknown", "null"];
function token(text, readings) {
  const graded = readings.map((one) => one[0]);
  const node = el("button", "tok " + GRADES.find((grade) => graded.includes(grade)), text);
  node.type = "button";
  node.readings = readings;
  node.setAttribute("aria-label", text + ": " + readings.map((one) => one[1] + " (" + [one[2], one[3]].filter(Boolean).join(", ") + ")").join("; "));
  return node;
}

function readText(text) {
  const box = el("div", "read");
  if (text.p) box.append(speech([text.p], "user"));
  const words = el("div", "words said" + (text.who ? " " + text.who.replace(/[^a-z]/g, "") : ""));
  for (const piece of text.w) {
    if (typeof piece === "string") words.append(document.createTextNode(piece));
    else words.append(token(piece[0], piece.slice(1)));
  }
  box.append(words);
  if (text.rest.length) {
    const rest = el("div", "words");
    for (const one of text.rest) rest.append(el("span", "rest", one[5]), token(one[6] || "␣", [one.slice(0, 5)]), document.createTextNode("  "));
    box.append(rest);
  }
  return box;
}

function legend() {
  const box = el("div", "legend");
  box.append(el("span", "", "point at a token:"));
  for (const [grade, words] of [["high", "0.7 or more"], ["middle", "0.3 or more"], ["low", "less"], ["null", "a null does as well"], ["unknown", "fidelity not recorded"]]) {
    box.append(el("span", "tok " + grade, words));
  }
  return box;
}

function fill(inner, block) {
  inner.append(el("p", "args", block.call));
  if (block.sum === undefined) return inner.append(el("p", "facts", "no result was recorded"));
  inner.append(el("p", "sum", block.sum));
  inner.append(el("p", "facts", block.cost));
  const show = (name, make, all) => {
    let at = 0;
    const more = el("button", "", "");
    more.type = "button";
    const next = () => {
      const part = all.slice(at, at + 12);
      for (const one of part) more.before(make(one));
      at += part.length;
      more.textContent = "show " + (all.length - at) + " more " + name;
      more.hidden = at >= all.length;
    };
    inner.append(more);
    more.addEventListener("click", next);
    next();
  };
  if (block.texts.length) {
    inner.append(legend());
    show("texts with readings", readText, block.texts);
  }
  if (block.items.length) show("items", item, block.items);
  if (block.more) inner.append(el("p", "facts", block.more + " more items are in the record; auditor export writes all of them"));
}

function call(block, decided) {
  const box = el("details", "call" + (block.ok === false ? " failed" : "") + (decided.includes(block.id) ? " decided" : ""));
  box.dataset.id = block.id;
  const head = el("summary");
  head.append(el("span", "eid", block.id + " "), el("span", "tool", block.tool));
  if (decided.includes(block.id)) head.append(el("span", "gist", " · cited by the hypothesis that was judged"));
  head.append(el("div", "gist", block.gist || ""));
  if (block.of) head.append(el("div", "gist", block.of + " token readings are shown on " + block.texts.length + " texts"));
  const inner = el("div", "inside");
  box.append(head, inner);
  // A call may hold hundreds of items: they are laid out when it is unfolded.
  box.addEventListener("toggle", () => {
    if (box.open && !inner.firstChild) fill(inner, block);
  });
  return box;
}

function submission(block) {
  const box = el("section", "submission");
  const claim = el("div", "", "claims ");
  claim.append(el("b", "", block.claim));
  const sure = [block.c && "confidence " + block.c, block.s && "suspicion " + block.s, block.by && "stopped by: " + block.by].filter(Boolean);
  if (sure.length) claim.append(document.createTextNode(" (" + sure.join(", ") + ")"));
  box.append(claim, el("p", "thought", block.t));
  if (block.rows.length) box.append(hypotheses(block.rows));
  if (block.withheld.length) box.append(el("p", "facts", "withheld:"), hypotheses(block.withheld));
  return box;
}

function verdict(end) {
  const box = el("section", "verdict");
  box.append(el("div", "mark o-" + end.o.replace(" ", "-"), end.mark + " " + end.label));
  if (end.why) box.append(el("div", "why", end.why));
  if (end.judge) box.append(el("div", "", "judge: " + end.judge));
  for (const line of end.beside) box.append(el("div", "", line));
  if (end.e.length) {
    const decided = el("div", "", "the hypothesis that was judged cites ");
    decided.append(evidence(end.e));
    box.append(decided);
  }
  if (end.cost) box.append(el("div", "facts", end.cost));
  if (end.trace) box.append(el("pre", "trace", end.trace));
  return box;
}

function layOut(n, one) {
  const line = lines[n];
  const page = document.createDocumentFragment();
  const bar = el("div", "bar");
  const back = el("button", "", "← all trials");
  back.id = "back";
  back.type = "button";
  back.addEventListener("click", close);
  const unfold = el("button", "", "unfold all calls");
  unfold.id = "unfold";
  unfold.type = "button";
  unfold.addEventListener("click", () => unfoldAll());
  bar.append(back, unfold);
  page.append(bar, el("h3", "", line[TARGET] + " · " + line[SET] + " · trial " + line[TRIAL]), el("p", "facts", one.facts.join(" · ")));
  let turn = 0;
  for (const block of one.blocks) {
    if (block.turn && block.turn !== turn) {
      turn = block.turn;
      page.append(el("div", "turn", "turn " + turn));
    }
    if (block.k === "thought") page.append(el("p", "thought", block.t));
    if (block.k === "call") page.append(call(block, one.end.e));
    if (block.k === "submission") page.append(el("div", "turn", "submission"), submission(block));
    if (block.k === "ledger") {
      if (block.t) page.append(el("p", "note", block.t));
      if (block.rows.length) page.append(hypotheses(block.rows));
      else if (block.new) page.append(el("p", "facts", "no hypothesis is left"));
    }
  }
  page.append(verdict(one.end));
  return page;
}

function unfoldAll() {
  const calls = [...document.querySelectorAll("#trial .call")];
  const shut = calls.some((one) => !one.open);
  for (const one of calls) one.open = shut;
}

async function show(n, focus) {
  if (!(n >= 0 && n < lines.length)) return;
  const mine = ++wanted;
  if (rows[open]) rows[open].removeAttribute("aria-current");
  open = n;
  rows[n].setAttribute("aria-current", "true");
  rows[n].scrollIntoView({ block: "nearest" });
  let page;
  try {
    page = layOut(n, await story(n));
  } catch (error) {
    page = el("p", "warning", "cannot show this trial: " + error.message);
  }
  if (mine !== wanted) return;
  hideTip();
  $("trial").replaceChildren(page);
  document.body.classList.add("reading");
  if (location.hash !== "#trial-" + (n + 1)) history.replaceState(null, "", "#trial-" + (n + 1));
  if (focus) {
    $("trial").focus({ preventScroll: true });
    const top = $("panes").getBoundingClientRect().top;
    if (top < 0) window.scrollBy(0, top - 8);
  }
}

function close() {
  document.body.classList.remove("reading");
  history.replaceState(null, "", "#trials");
  if (rows[open]) rows[open].focus();
}

function follow(id) {
  const box = [...document.querySelectorAll("#trial .call")].find((one) => one.dataset.id === id);
  if (!box) return;
  box.open = true;
  box.scrollIntoView({ block: "start" });
  box.querySelector("summary").focus({ preventScroll: true });
  box.classList.add("flash");
  setTimeout(() => box.classList.remove("flash"), 1600);
}

// Readings of the token that is pointed at, or was tapped.
let pinned = null;
function tip(node) {
  const box = $("tip");
  box.replaceChildren();
  for (const [grade, said, value, worth, whose] of node.readings) {
    const one = el("div", "one " + grade);
    one.append(el("div", "what", said || "(no explanation)"), el("div", "how", [value, worth, whose && "activations of: " + whose].filter(Boolean).join(" · ")));
    box.append(one);
  }
  box.hidden = false;
  const at = node.getBoundingClientRect();
  const room = document.documentElement.clientWidth - box.offsetWidth - 12;
  box.style.left = Math.max(8, Math.min(at.left, room)) + window.scrollX + "px";
  const below = at.bottom + box.offsetHeight + 10 < window.innerHeight;
  box.style.top = (below ? at.bottom + 6 : at.top - box.offsetHeight - 6) + window.scrollY + "px";
}
function hideTip() {
  $("tip").hidden = true;
  pinned = null;
}
const tokenAt = (event) => (event.target.closest ? event.target.closest("#trial .words .tok") : null);

$("trial").addEventListener("pointerover", (event) => {
  const node = tokenAt(event);
  if (node && event.pointerType === "mouse") tip(node);
});
$("trial").addEventListener("pointerout", (event) => {
  if (tokenAt(event) && !pinned) hideTip();
});
$("trial").addEventListener("focusin", (event) => {
  const node = tokenAt(event);
  if (node && node.matches(":focus-visible")) tip(node);
});
$("trial").addEventListener("focusout", (event) => {
  if (tokenAt(event) && !pinned) hideTip();
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-to]");
  if (link) return follow(link.dataset.to);
  const node = tokenAt(event);
  if (node && pinned !== node) {
    tip(node);
    pinned = node;
  } else if (!event.target.closest("#tip")) {
    hideTip();
  }
});

$("list").addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  if (row) show(+row.dataset.n, true);
});
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("reset", () => setTimeout(() => { searches++; inside = null; filter(); }));
let waiting = 0;
$("search").addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(search, 120);
});
$("deep").addEventListener("change", search);

function step(by) {
  for (let n = open + by; n >= 0 && n < rows.length; n += by) if (!rows[n].hidden) return show(n, true);
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (!$("tip").hidden) return hideTip();
    if (document.activeElement === $("search")) return $("search").blur();
    return close();
  }
  if (event.target.closest("input, select, textarea")) return;
  if (event.key === "/") { event.preventDefault(); close(); $("search").focus(); }
  if (event.key === "j") step(1);
  if (event.key === "k") step(-1);
  if (event.key === "o") unfoldAll();
});
const fromHash = () => {
  const found = /^#trial-(\d+)$/.exec(location.hash);
  if (found && +found[1] - 1 !== open) show(+found[1] - 1, true);
};
window.addEventListener("hashchange", fromHash);

(async () => {
  lines = await unpack($("index"));
  fillFilters();
  const all = document.createDocumentFragment();
  rows = lines.map(rowOf);
  all.append(...rows);
  $("list").append(all);
  filter();
  // Transcripts follow this script in the file.
  if (document.readyState === "loading") await new Promise((next) => document.addEventListener("DOMContentLoaded", next));
  fromHash();
  document.documentElement.dataset.ready = "yes";
})();
