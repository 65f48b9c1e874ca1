// The session as a jsPsych 8 experiment: one plugin shows every step. What was answered is kept in the browser
// until it is saved, so that a page that was closed goes on where it was.
"use strict";

(() => {
  const { View, make, paragraphs } = TraitlensView;
  const { texts, scale, orders, traits, images, save } = TRAITLENS;
  const SECONDS = 6; // how long a trial takes before it is known
  const rated = (step) => ["practice", "trial", "check"].includes(step.kind);

  const asked = new URLSearchParams(location.search);
  const plain = (text) => (/^[\w-]{1,40}$/.test(text || "") ? text : null);

  function keep(name, value) {
    try {
      if (value !== undefined) localStorage.setItem(`traitlens.${TRAITLENS.key}.${name}`, value);
      return localStorage.getItem(`traitlens.${TRAITLENS.key}.${name}`);
    } catch {
      return null; // a browser that keeps nothing: a closed page begins anew
    }
  }

  const random = (count) => crypto.getRandomValues(new Uint32Array(1))[0] % count;
  const participant = plain(asked.get("participant")) || keep("participant")
    || "J" + Array.from({ length: 8 }, () => "23456789abcdefghjkmnpqrstuvwxyz"[random(31)]).join("");
  keep("participant", participant);
  const number = /^\d{1,6}$/.test(asked.get("order") || "") ? Number(asked.get("order")) : null;
  let order = keep(participant + ".order");
  if (order === null) {
    const counted = typeof jatos === "undefined" ? null : Number(jatos.studyResultId);
    order = number ?? counted ?? random(Object.values(orders)[0].length);
    keep(participant + ".order", order);
  }

  const rows = []; // one for each step that is done
  for (let kept; (kept = keep(`${participant}.${rows.length}`)) !== null;) rows.push(JSON.parse(kept));

  function stepsNow() {
    const group = rows.findLast((row) => row.group)?.group ?? Object.keys(orders)[0];
    const packed = orders[group][Number(order) % orders[group].length];
    const steps = packed.map(([kind, of, image, repeat, wanted]) =>
      ({ kind, traits: of.map((i) => traits[i]), image, repeat, wanted }));
    return { steps, group: rows.length >= TRAITLENS.opening ? group : "" };
  }

  function stateNow(steps) {
    const position = rows.length;
    const trials = steps.map((step) => step.kind === "trial");
    const blocks = steps.map((step) => step.kind === "block");
    const count = (list) => list.filter(Boolean).length;
    const times = rows.filter((row) => row.rating !== null).slice(-20).map((row) => row.rt).sort((a, b) => a - b);
    const seconds = times.length >= 5 ? times[Math.floor(times.length / 2)] / 1000 + 1.5 : SECONDS;
    return {
      participant, position, step: steps[position], next: steps[position + 1]?.kind ?? "",
      done: count(trials.slice(0, position)), total: count(trials),
      part: count(blocks.slice(0, position + 1)), parts: count(blocks),
      minutes: Math.ceil((steps.slice(position).filter(rated).length * seconds) / 60),
    };
  }

  const address = (image) => `faces/${image}.jpg`;
  const root = document.getElementById("page");
  const view = new View(root, texts, scale, (image) => Promise.resolve(address(image)));

  class TraitlensPage {
    static info = { name: "traitlens-page", version: "1.0.0", parameters: {}, data: {} };

    constructor(jsPsych) { this.jsPsych = jsPsych; }

    trial() {
      const { steps, group } = stepsNow();
      const state = stateNow(steps);
      const { step, position } = state;
      for (const next of steps.slice(position + 1, position + 3)) {
        if (next.image !== null) new Image().src = address(next.image);
      }
      view.show(state).then((answer) => {
        const row = {
          participant, group: answer.group ?? group, order: Number(order), step: position, kind: step.kind,
          trait: step.traits[0] ?? "", image: step.image === null ? "" : images[step.image], repeat: step.repeat,
          wanted: step.wanted, rating: answer.rating ?? null, moved: answer.moved ?? null, rt: answer.rt ?? null,
          time: new Date().toISOString(), device: answer.device ?? "", language: view.language,
        };
        rows.push(row);
        keep(`${participant}.${position}`, JSON.stringify(row));
        this.jsPsych.finishTrial(row);
      });
    }
  }

  const ended = () => { const { steps } = stepsNow(); return steps[rows.length].kind === "end"; };

  function finish(saved = false) {
    const state = stateNow(stepsNow().steps);
    const data = JSON.stringify(rows);
    if (save === "jatos") {
      jatos.endStudy(data);
      return;
    }
    const words = view.text;
    const file = make("button", { type: "button", class: "main", onclick: () => {
      const link = make("a", { download: `${participant}.json`, href: "data:application/json;charset=utf-8," + encodeURIComponent(data) });
      link.click();
      finish(true);
    } }, words.file.save);
    view.state = state;
    view.again = () => finish(saved);
    view.frame("text", words.end.title, paragraphs([words.file.saved, ...(saved ? [words.file.done] : [])], {}),
      { progress: state, go: [file] });
  }

  const start = () => {
    // jsPsych gets an element of its own: it empties its display after every trial, and the view has the page.
    const display = document.body.appendChild(make("div", { hidden: true }));
    const jsPsych = initJsPsych({ display_element: display, on_finish: () => finish() });
    jsPsych.data.addProperties({ study: TRAITLENS.study });
    if (ended()) finish();
    else jsPsych.run([{ timeline: [{ type: TraitlensPage }], loop_function: () => !ended() }]);
  };
  if (typeof jatos === "undefined") start();
  else jatos.onLoad(start);
})();
