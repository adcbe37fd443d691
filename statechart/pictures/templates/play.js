"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const game = JSON.parse(find("game").textContent);
  const byName = new Map(game.happenings.map((it, number) => [it.name, number]));
  const NANO = 1e9;

  // What the page knows of one moment: the situation, and what fills the places of sentences.
  const start = {situation: 0, at: 0, due: null, memory: {step: 0, told: 0}};
  let path = [{...start, ...looked(start)}];
  let place = 0;
  let recording = null;

  // Words

  // A time as `statechart.words.phrases.seconds` says it. Python rounds a half to even, and toFixed rounds it up.
  function fixed(number, digits) {
    const half = (number * 2 ** (digits + 1)) % 2 === 1;
    const up = number.toFixed(digits);
    return half && Number(up.at(-1)) % 2 ? (number - 0.1 ** (digits + 2)).toFixed(digits) : up;
  }
  function seconds(time) {
    const whole = (unit) => Math.floor(time / unit);
    if (time < 10) return `${fixed(time, 3).replace(/0+$/, "").replace(/\.$/, "")} s`;
    if (time < 60) return `${fixed(time, 1).replace(/\.0$/, "")} s`;
    if (time < 3600) return `${whole(60)} min ${Math.floor(time % 60)} s`;
    if (time < 86400) return `${whole(3600)} h ${Math.floor((time % 3600) / 60)} min`;
    return `${whole(86400)} d ${Math.floor((time % 86400) / 3600)} h`;
  }
  const clock = (nanoseconds) => seconds(nanoseconds / NANO);

  // "{now-step} s" is a time, "{fate web}" is what was said when web ended.
  function filled(text, known) {
    return text.replace(/\{(\w+)-(\w+)\} s|\{(\w+)\} s|\{([^}]+)\}/g, (_, later, earlier, time, fate) => {
      if (fate) return known[fate];
      return seconds(time ? known[time] / NANO : known[later] / NANO - known[earlier] / NANO);
    });
  }
  const guarded = (event, guard) => event + (guard ? ` [${guard}]` : "");

  // The history

  function looked(moment) {
    const [look, end] = game.situations[moment.situation];
    return {...game.looks[look], end: game.ends[end]};
  }

  function ways(moment) {
    const found = new Map();
    const flat = game.moves[moment.situation];
    for (let n = 0; n < flat.length; n += 3) found.set(flat[n], {target: flat[n + 1], outcome: game.outcomes[flat[n + 2]]});
    return found;
  }

  // When the clock runs out, muinit is told at once, so nothing else happens after that moment.
  function timeOf(moment, number, wanted) {
    if (game.happenings[number].entry.event === "timeout") return moment.due;
    return Math.min(Math.max(wanted, moment.at), moment.due ?? Infinity);
  }

  // The moment after something has happened; null if it cannot happen now.
  function after(moment, number, wanted) {
    const way = ways(moment).get(number);
    if (!way) return null;
    const {entry, detail} = game.happenings[number];
    const [effects, guard, story, fates, times] = way.outcome;
    const at = timeOf(moment, number, wanted);
    const known = {...moment.memory, now: at};
    const said = (text) => filled(game.texts[text], known);
    const memory = {...moment.memory};
    for (const name of times) memory[name] = at;
    for (const [name, [fate, whole]] of Object.entries(fates)) {
      memory[`fate ${name}`] = said(fate);
      memory[`whole ${name}`] = said(whole);
    }
    const {words, entries, clock: set} = game.effects[effects];
    let due = moment.due;
    if (set !== undefined) due = set === null ? null : at + Math.round(set * NANO);
    const next = {situation: way.target, at, due, memory};
    const look = looked(next);
    if (look.end) next.due = null;
    return {
      ...next, ...look,
      end: look.end && {...look.end, why: filled(look.end.why, {...memory, now: at})},
      happening: number, before: moment.stage, event: entry.event, guard, detail, words,
      story: story.map(said),
      entry: {t: at, ...entry, before: moment.stage, guard, after: look.stage, effects: entries},
    };
  }

  function happen(number) {
    const next = after(path[place], number, path[place].at + pace());
    if (recording || !next) return;
    path = [...path.slice(0, place + 1), next];
    place += 1;
    show();
  }
  function pace() {
    const value = find("pace").valueAsNumber;
    return value >= 0 ? Math.round(value * NANO) : 0;
  }
  function go(to) {
    if (to < 0 || to >= path.length) return;
    place = to;
    show();
  }

  // Links and traces

  const link = () => path.slice(1, place + 1).map((it) => `${game.happenings[it.happening].name}@${it.at / NANO}`).join(",");
  function follow() {
    const [first] = path;
    const names = decoded(location.hash.slice(1)).split(",").filter(Boolean);
    let wrong = "";
    if (recording) close();
    path = [first];
    for (const each of names) {
      const [name, time] = each.split("@");
      const next = after(path.at(-1), byName.get(name), Math.round(Number(time) * NANO) || 0);
      if (!next) {
        wrong = `The link says “${each}”, which cannot happen here.`;
        break;
      }
      path.push(next);
    }
    place = path.length - 1;
    show();
    find("shared").textContent = wrong;
  }

  function decoded(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  }

  function trace() {
    const {end, at} = path[place];
    const lines = [{...game.header, time: Math.floor(Date.now() / 1000)}, ...path.slice(1, place + 1).map((it) => it.entry)];
    if (end) lines.push({t: at, exit: end.exit, why: end.why, survivors: end.survivors});
    return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  }
  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
      find("shared").textContent = `Copied ${what}.`;
    } catch {
      find("shared").textContent = `The browser did not let this page copy ${what}.`;
    }
  }
  function save() {
    const url = URL.createObjectURL(new Blob([trace()], {type: "application/jsonl"}));
    Object.assign(document.createElement("a"), {href: url, download: "played.jsonl"}).click();
    URL.revokeObjectURL(url);
  }

  // A recorded trace is shown from its own lines; nothing of it is decided here.
  function recorded(text) {
    const [header, ...entries] = text.split("\n").slice(0, -1).map((line) => JSON.parse(line));
    if (header?.schema !== game.header.schema) throw new Error(`expected a trace of schema ${game.header.schema}`);
    const moments = [{stage: entries.find((it) => it.before)?.before || "RUNNING", at: 0, due: null}];
    const last = () => moments.at(-1);
    for (const entry of entries) {
      if (entry.event) {
        const {t, event, before, guard, after: stage, effects, ...members} = entry;
        const set = effects.find((it) => it.effect === "clock");
        const due = set ? set.seconds === null ? null : t + Math.round(set.seconds * NANO) : last().due;
        moments.push({
          stage, at: t, due, before, event, guard, detail: told(members), story: [],
          words: effects.map(({effect, ...more}) => `${effect} ${told(more)}`.trim()),
        });
      } else if (entry.why !== undefined) {
        last().end = {exit: entry.exit, why: entry.why};
        last().due = null;
      } else {
        moments.push({...last(), event: `${entry.dropped} lines were dropped here`, guard: "", detail: "", words: [], story: [], before: last().stage});
      }
    }
    return {header, moments};
  }
  // A value of JSON in a line: {"signal": "SIGTERM", "pids": [1, 2]} is "signal SIGTERM, pids 1, 2".
  function told(value) {
    if (Array.isArray(value)) return value.map(told).join(", ");
    if (value === null || typeof value !== "object") return String(value);
    return Object.entries(value)
      .filter(([, each]) => each !== null && each !== "" && each !== false && each.length !== 0)
      .map(([name, each]) => `${name} ${told(each)}`).join(", ");
  }
  async function open(file) {
    try {
      const {header, moments} = recorded(await file.text());
      recording = recording || {path, place};
      find("recorded").textContent = header.argv.join(" ");
      [path, place] = [moments, 0];
      show();
      find("shared").textContent = `Opened ${file.name}.`;
    } catch (error) {
      find("shared").textContent = `${file.name} cannot be read: ${error.message}`;
    }
  }
  function close() {
    [path, place] = [recording.path, recording.place];
    recording = null;
    find("open").value = "";
  }

  // What is shown

  function element(name, text, kind) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }
  const kindOf = (stage) => stage.split(" ")[0].toLowerCase();

  function show() {
    const it = path[place];
    find("recording").hidden = !recording;
    find("happenings").hidden = Boolean(recording);
    showNow(it);
    showSaid(it);
    showRows(it);
    showProcesses(it);
    showDiagram(it);
    showHistory();
    const possible = recording ? new Map() : ways(it);
    game.happenings.forEach(({name}, number) => {
      find(name).setAttribute("aria-disabled", String(!possible.has(number)));
      find(name).classList.toggle("pressed", !recording && it.happening === number);
    });
    for (const [id, can] of [["back", place > 0], ["forward", place < path.length - 1], ["anew", place > 0], ["copy-link", !recording], ["copy-trace", !recording], ["save-trace", !recording]])
      find(id).setAttribute("aria-disabled", String(!can));
    find("shared").textContent = "";
    if (!recording) history.replaceState(null, "", `#${link()}`);
  }

  function showNow({stage, at, due, end}) {
    find("stage").textContent = stage;
    find("stage").className = `stage ${kindOf(stage)}`;
    find("time").textContent = clock(at);
    find("clock").textContent = due === null ? "none" : `until ${clock(due)}`;
    find("exit").textContent = end ? String(end.exit) : "—";
  }

  function showSaid({event, guard, detail, at, before, stage, story, words, end}) {
    const lines = [];
    if (event) {
      lines.push(element("p", `${clock(at)}: ${guarded(event, guard)}${detail ? `: ${detail}` : ""}`, "event"));
      lines.push(element("p", before === stage ? `stays ${stage}` : `${before} → ${stage}`, "way"));
      lines.push(...words.map((text) => element("p", text, "sent")));
      lines.push(...story.map((text) => element("p", `muinit: ${text}`, "story")));
    } else {
      lines.push(element("p", recording ? "The start of the recording." : "Both commands run. What happens next?"));
    }
    if (end) lines.push(element("p", `muinit: ${end.why}`, "why"));
    find("said").replaceChildren(...lines);
  }

  function showRows({event, guard, before}) {
    const state = before?.split(" ")[0];
    const cell = game.rows.filter((row) => row.event === event && row.from === state);
    const taken = cell.find((row) => row.guard === guard);
    find("row").hidden = !cell.length;
    find("rows").caption.textContent = `The row of the table: ${event} in ${state}`;
    find("rows").tBodies[0].replaceChildren(...cell.map((row) => {
      const line = element("tr", "", row === taken ? "taken" : "");
      if (row === taken) line.setAttribute("aria-current", "true");
      const to = row.to === row.from ? "stays" : row.to;
      line.append(...[row.guard, to, row.does.join(", ") || `nothing: ${row.why}`].map((text) => element("td", text)));
      return line;
    }));
    const names = taken ? [taken.guard, ...taken.does].filter(Boolean) : [];
    find("docs").replaceChildren(...names.map((name) => {
      const both = element("div");
      both.append(element("dt", name), element("dd", game.words[name]));
      return both;
    }));
  }

  function showProcesses({alive, job, memory}) {
    const status = (name, text, gone) => {
      find(`of-${name}`).hidden = Boolean(recording);
      find(`of-${name}`).textContent = text;
      find(`of-${name}`).classList.toggle("gone", Boolean(gone));
    };
    if (!recording) {
      Object.entries(game.commands).forEach(([name, pid], number) =>
        status(name, alive[number] ? `pid ${pid}, alive` : memory[`fate ${name}`], !alive[number]));
      status("job", game.jobs[job], job === "reaped" || job === "unseen");
    } else for (const name of [...Object.keys(game.commands), "job"]) status(name, "");
  }

  function showDiagram({event, guard, before, stage}) {
    const edge = event && before in game.boxes && `${game.boxes[before]}->${game.boxes[stage]}`;
    const acts = event && game.rows.some((row) => row.event === event && row.from === before.split(" ")[0] && row.guard === guard && row.does.length);
    for (const on of document.querySelectorAll(".diagram .node")) {
      const here = on.dataset.name === game.boxes[stage];
      on.setAttribute("class", here ? `node here ${kindOf(stage)}` : "node");
    }
    for (const on of document.querySelectorAll(".diagram .edge")) {
      const took = Boolean(acts) && on.dataset.name.replace(/:[ns]/g, "") === edge;
      on.setAttribute("class", took ? "edge took" : "edge");
      if (took) on.parentNode.append(on); // what is drawn last is on top
      for (const text of on.querySelectorAll("text"))
        text.classList.toggle("took", took && text.textContent.trim() === guarded(event, guard));
    }
    for (const on of document.querySelectorAll("#stages li")) {
      const here = on.dataset.stage === stage;
      on.className = here ? `here ${kindOf(stage)}` : "";
      on.toggleAttribute("aria-current", here);
    }
  }

  function showHistory() {
    find("history").replaceChildren(...path.map((it, number) => {
      const line = element("tr");
      line.toggleAttribute("aria-current", number === place);
      const cell = element("td");
      const button = element("button", it.event ? `${guarded(it.event, it.guard)}${it.detail ? `: ${it.detail}` : ""}` : "start");
      button.type = "button";
      button.addEventListener("click", () => { go(number); find("history").rows[number].querySelector("button").focus(); });
      cell.append(button);
      line.append(element("td", clock(it.at)), cell, element("td", it.stage), element("td", (it.words || []).join("; ")));
      return line;
    }));
  }

  // What is pressed

  const on = (id, press) => find(id).addEventListener("click", () => { if (find(id).getAttribute("aria-disabled") !== "true") press(); });
  game.happenings.forEach(({name}, number) => on(name, () => happen(number)));
  on("back", () => go(place - 1));
  on("forward", () => go(place + 1));
  on("anew", () => go(0));
  on("close", () => { close(); show(); find("open").focus(); });
  on("copy-link", () => copy(location.href, "the link"));
  on("copy-trace", () => copy(trace(), "the trace"));
  on("save-trace", save);
  find("open").addEventListener("change", (event) => { if (event.target.files.length) open(event.target.files[0]); });
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, .scroll") || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") go(place - 1);
    if (event.key === "ArrowRight") go(place + 1);
  });
  addEventListener("hashchange", follow);
  follow();
})();
