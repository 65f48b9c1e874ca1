// The session as a jsPsych 8 experiment, in which one plugin shows every step. Answers are stored in the browser
// until they are saved, so a page that was closed continues at the same step when it is opened again.
"use strict";

(() => {
  const { View, make, paragraphs } = TraitlensView;
  const { texts, scale, orders, traits, images, save, questionnaires, panel } = TRAITLENS;
  const SECONDS = 6; // assumed duration of a trial until the participant's own times are known
  const rated = (step) => ["practice", "trial", "check"].includes(step.kind);

  // JATOS removes the parameters from the address and provides them itself.
  const inJatos = typeof jatos !== "undefined";
  const asked = new URLSearchParams(location.search);
  const parameter = (name) => (inJatos && jatos.urlQueryParameters && jatos.urlQueryParameters[name]) || asked.get(name);
  const plain = (text) => (/^[\w-]{1,64}$/.test(text || "") ? text : null);
  let stored = true; // false if the browser cannot store data

  function keep(name, value) {
    try {
      if (value !== undefined) localStorage.setItem(`traitlens.${TRAITLENS.key}.${name}`, value);
      return localStorage.getItem(`traitlens.${TRAITLENS.key}.${name}`);
    } catch {
      stored = false; // a page that was closed starts again at the beginning
      return null;
    }
  }

  const random = (count) => crypto.getRandomValues(new Uint32Array(1))[0] % count;
  let participant, order, who;
  const rows = []; // one row for each completed step

  function begin() {
    const ids = panel ? panel.parameters.map((name) => plain(parameter(name)) || "") : [];
    who = ids[0] ? `panel.${ids[0]}` : "participant";
    participant = (panel ? null : plain(parameter("participant"))) || keep(who)
      || "J" + Array.from({ length: 8 }, () => "23456789abcdefghjkmnpqrstuvwxyz"[random(31)]).join("");
    const number = /^\d{1,6}$/.test(parameter("order") || "") ? Number(parameter("order")) : null;
    const counted = inJatos ? Number(jatos.studyResultId) : null;
    order = keep(participant + ".order") ?? number ?? counted ?? random(Object.values(orders)[0].length);
    for (let kept; (kept = keep(`${participant}.${rows.length}`)) !== null;) rows.push(JSON.parse(kept));
    view.stopped = stored ? "here" : "page_only";
    if (panel && ids[0]) {
      panel.ids = ids;
      view.consentLine = "consent_with_answers";
    }
  }

  // The panel's identifiers are in a separate row, so that the export can separate them from the answers.
  const panelRow = () => ({ ...emptyRow(-1, "panel"), panel_ids: panel.ids.join(" ") });
  const emptyRow = (step, kind) => ({
    participant, group: "", order: Number(order), step, kind, trait: "", image: "", repeat: 1, wanted: null, rating: null,
    moved: null, rt: null, time: new Date().toISOString(), device: "", language: view.language, questionnaire: "", answers: "", panel_ids: "",
  });
  const allRows = () => (panel && panel.ids ? [panelRow(), ...rows] : rows);

  function stepsNow() {
    const group = rows.findLast((row) => row.group)?.group ?? Object.keys(orders)[0];
    const packed = orders[group][Number(order) % orders[group].length];
    const steps = packed.map(([kind, of, image, repeat, wanted, questionnaire]) =>
      ({ kind, traits: of.map((i) => traits[i]), image, repeat, wanted, questionnaire }));
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
  const view = new View(root, texts, scale, (image) => Promise.resolve(address(image)), { questionnaires, panel: panel && panel.title });

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
          ...emptyRow(position, step.kind), group: answer.group ?? group, trait: step.traits[0] ?? "",
          image: step.image === null ? "" : images[step.image], repeat: step.repeat, wanted: step.wanted,
          rating: answer.rating ?? null, moved: answer.moved ?? null, rt: answer.rt ?? null, device: answer.device ?? "",
          questionnaire: step.questionnaire ?? "", answers: answer.answers ? JSON.stringify(answer.answers) : "",
        };
        if (rows.length === 0) { // nothing is stored before the participant agrees
          keep(who, participant);
          keep(participant + ".order", order);
          if (save === "jatos" && panel && panel.ids) jatos.appendResultData(JSON.stringify(panelRow()) + "\n");
        }
        rows.push(row);
        keep(`${participant}.${position}`, JSON.stringify(row));
        // Sent at once, so that nothing is lost if the page is closed early; JATOS retries if the connection fails.
        if (save === "jatos") jatos.appendResultData(JSON.stringify(row) + "\n");
        this.jsPsych.finishTrial(row);
      });
    }
  }

  const ended = () => { const { steps } = stepsNow(); return steps[rows.length].kind === "end"; };

  const link = () => (panel && panel.ids && panel.completion
    ? panel.completion.replaceAll("{id}", encodeURIComponent(panel.ids[0])) : null);

  function finish(saved = save !== "download") {
    const state = stateNow(stepsNow().steps);
    if (save === "jatos") {
      // All rows are sent again at the end; the import of the data drops duplicates.
      const all = allRows().map((row) => JSON.stringify(row) + "\n").join("");
      if (link()) jatos.endStudyAndRedirect(link(), all);
      else jatos.endStudy(all);
      return;
    }
    const words = view.text;
    const file = make("button", { type: "button", class: "main", onclick: () => {
      const data = JSON.stringify(allRows());
      make("a", { download: `${participant}.json`, href: "data:application/json;charset=utf-8," + encodeURIComponent(data) }).click();
      finish(true);
    } }, words.file.save);
    view.state = state;
    view.again = () => finish(saved);
    const content = save === "download" ? paragraphs([words.file.saved, ...(saved ? [words.file.done] : [])], {})
      : paragraphs(words.end.text, state);
    const back = saved ? view.wayBack(link(), content) : [];
    view.frame("text", words.end.title, content, { progress: state, go: [...(save === "download" ? [file] : []), ...back] });
  }

  // All rows as CSV, including those of an earlier visit, which jsPsych's own data do not contain.
  function csv() {
    const names = Object.keys(emptyRow(0, ""));
    const cell = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;
    return [names.join(","), ...allRows().map((row) => names.map((name) => cell(row[name])).join(","))].join("\n");
  }

  const start = () => {
    begin();
    // jsPsych clears its display after every trial, so it gets a hidden element; the view draws the page.
    const display = document.body.appendChild(make("div", { hidden: true }));
    const jsPsych = initJsPsych({ display_element: display, on_finish: () => finish() });
    jsPsych.data.addProperties({ study: TRAITLENS.study });
    const pages = ended() ? [] : [{ timeline: [{ type: TraitlensPage }], loop_function: () => !ended() }];
    if (save === "pavlovia") {
      const command = (name) => ({ type: jsPsychPavlovia, command: name, participantId: participant, dataFilter: csv });
      jsPsych.run([command("init"), ...pages, command("finish")]);
    } else if (pages.length) jsPsych.run(pages);
    else finish();
  };
  if (inJatos) jatos.onLoad(start);
  else start();
})();
