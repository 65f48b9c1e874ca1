// Shows one step of a session and waits for the answer; used with traitlens's server and with jsPsych. Every page
// is built from text nodes, so that no text of a study can become markup.
"use strict";

const TraitlensView = (() => {
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") element.className = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (place, key) => (key in values ? values[key] : place));
  const paragraphs = (lines, values) => lines.map((line) => make("p", {}, fill(line, values)));

  function remember(key, value) {
    try {
      if (value !== undefined) localStorage.setItem("traitlens." + key, value);
      return localStorage.getItem("traitlens." + key);
    } catch {
      return null; // the browser cannot store data
    }
  }

  class View {
    // texts: by language; scale: answer format and scale; loadFace: number -> Promise of an address;
    // questionnaires: by name; panel: name of the panel.
    constructor(root, texts, scale, loadFace, { questionnaires = {}, panel = null } = {}) {
      Object.assign(this, { root, texts, scale, loadFace, questionnaires, panel });
      this.stopped = "text"; // key of the text that a pause shows
      this.consentLine = null; // key of the text about the panel's identifier in the consent
      const kept = remember("language");
      const wished = navigator.languages.map((name) => name.split("-")[0]);
      const known = Object.keys(texts);
      this.language = known.includes(kept) ? kept : wished.find((name) => known.includes(name)) || known[0];
      this.pointer = "keyboard";
      document.addEventListener("pointerdown", (event) => { this.pointer = event.pointerType || "mouse"; }, true);
      document.addEventListener("keydown", (event) => this.pressed(event));
      this.applyDisplay();
    }

    get text() { return this.texts[this.language]; }

    applyDisplay() {
      const html = document.documentElement;
      html.dataset.contrast = remember("contrast") || (matchMedia("(prefers-contrast: more)").matches ? "high" : "light");
      html.dataset.size = remember("size") || "normal";
      html.lang = this.language;
      html.dir = this.text.direction;
    }

    // Draw a page: progress at the top, content, and below it the next step, a pause and the display settings.
    frame(kind, title, content, { progress = null, next = null, pause = false, go = [] } = {}) {
      const heading = make("h1", { tabindex: "-1" }, title);
      this.message = make("p", { class: "message", role: "status" });
      this.main = make("main", { class: kind, "data-step": this.state ? this.state.position : null }, heading, ...content, make("div", { class: "go" }, ...go), this.message);
      const words = this.text.status;
      const minutes = (left) => (left > 0 ? fill(left === 1 ? words.left_one : words.left, progress) : "");
      const lines = progress && progress.total ? [fill(words.done, progress), minutes(progress.minutes)] : ["", ""];
      const bar = progress && progress.total
        ? make("progress", { max: progress.total, value: progress.done, "aria-label": lines[0] }) : null;
      const stop = pause ? make("button", { type: "button", onclick: () => this.stop() }, this.text.stopped.button) : null;
      this.root.replaceChildren(make("div", { class: "frame" },
        make("header", { class: "top" }, make("p", {}, make("span", {}, lines[0]), make("span", {}, lines[1])), bar),
        this.main,
        make("footer", { class: "bottom" },
          make("div", { class: "row" }, make("p", {}, next ? fill(words.next, { what: next }) : ""), stop),
          this.displaySettings())));
      document.title = title;
      heading.focus({ preventScroll: true });
      window.scrollTo(0, 0);
    }

    displaySettings() {
      const words = this.text.display;
      const choose = (key, label, options, current, change) => make("label", {}, label,
        make("select", { onchange: (event) => { remember(key, event.target.value); change(event.target.value); } },
          ...options.map(([value, name]) => make("option", { value, selected: value === current }, name))));
      const html = document.documentElement;
      const apply = () => this.applyDisplay();
      const languages = Object.entries(this.texts).map(([code, texts]) => [code, texts.language]);
      return make("details", {}, make("summary", {}, words.title), make("div", { class: "settings" },
        choose("contrast", words.contrast, ["light", "dark", "high"].map((name) => [name, words[name]]), html.dataset.contrast, apply),
        choose("size", words.size, ["normal", "large", "largest"].map((name) => [name, words[name]]), html.dataset.size, apply),
        languages.length > 1 ? choose("language", words.language, languages, this.language, (code) => {
          this.language = code;
          this.applyDisplay();
          if (this.again) this.again();
        }) : null));
    }

    showMessage(text) { if (this.message) this.message.textContent = text; }

    // Show a state; the promise resolves to the answer.
    show(state) {
      this.state = state;
      return new Promise((resolve) => {
        this.again = () => this.draw(state, (answer) => { this.keys = null; resolve(answer); });
        this.again();
      });
    }

    draw(state, done) {
      const { step } = state;
      const words = this.text[step.kind === "practice" ? "trial" : step.kind];
      const next = state.next ? this.text.status["next_" + (state.next === "trial" ? "face" : state.next)] : null;
      const about = { progress: state, next, pause: !["consent", "end", "screened"].includes(step.kind) };
      const values = { ...state, minutes: Math.max(state.minutes, 2) };
      if (step.kind === "consent") about.progress = values; // so that the text and the line above it show the same minutes
      this.keys = null;
      const forward = (label, act) => make("button", { type: "button", class: "main", onclick: act }, label);
      if (["practice", "trial", "check"].includes(step.kind)) return this.drawRated(state, about, done);
      if (step.kind === "questionnaire") return this.drawQuestionnaire(step.questionnaire, about, done);
      if (step.kind === "consent") {
        // A person from a panel has no code before they agree.
        const lines = words.text.filter((line) => state.participant || !line.includes("{participant}"));
        if (this.consentLine) lines.push(fill(this.text.panel[this.consentLine], { panel: this.panel }));
        return this.frame("text", words.title, paragraphs(lines, values), { ...about, go: [
          forward(words.agree, () => done({})),
          make("button", { type: "button", onclick: () => this.decline() }, words.decline)] });
      }
      if (step.kind === "group") return this.drawGroup(words, about, done);
      let content = words.text ? paragraphs(words.text, values) : [];
      if (step.kind === "instructions") {
        for (const part of ["repeats", "checks"]) {
          if (this.scale[part]) content.push(...paragraphs([words[part]], values));
        }
        content.push(...paragraphs([words[this.scale.answer]], values));
        if (this.scale.confirm) content.push(...paragraphs([words.confirm], values));
        if (this.scale.practice) content.push(...paragraphs([words.practice], values));
      }
      if (step.kind === "block") content = this.describeTraits(step.traits, words);
      const ends = ["end", "screened"].includes(step.kind);
      const go = ends ? this.wayBack(state.completion, content) : [forward(words.next, () => done({}))];
      if (!ends) this.keys = { confirm: () => done({}) };
      this.frame("text", fill(words.title, values), content, { ...about, go });
      return undefined;
    }

    // Show that the experimenter has paused all sessions.
    hold(state) {
      this.state = state;
      this.keys = null;
      this.again = () => this.frame("text", this.text.held.title, paragraphs(this.text.held.text, {}), { progress: state });
      this.again();
    }

    // Return the button with the link back to the panel, and add its explanation to the content.
    wayBack(link, content) {
      if (!link || !this.panel) return [];
      const values = { panel: this.panel };
      content.push(...paragraphs([this.text.panel.back], values));
      return [make("a", { class: "button main", href: link }, fill(this.text.panel.go, values))];
    }

    full() {
      const words = this.text.panel;
      this.again = () => this.frame("text", words.full_title, paragraphs(this.text.panel.full, { panel: this.panel }), {});
      this.again();
    }

    drawQuestionnaire(name, about, done) {
      const { lowest, items, texts } = this.questionnaires[name];
      const words = texts[this.language];
      const answers = Object.fromEntries(items.map((item) => [item, null]));
      let warned = false;
      const confirm = () => {
        const count = Object.values(answers).filter((answer) => answer === null).length;
        if (count === 0 || warned) return done({ answers });
        warned = true;
        return this.showMessage(fill(this.text.questionnaire.left_out, { count }));
      };
      const content = items.map((item) => make("fieldset", { class: "item" }, make("legend", {}, words.items[item]),
        make("div", { class: "choices list" }, ...words.answers.map((answer, i) => make("label", { class: "choice" },
          make("input", { type: "radio", name: item, value: lowest + i, onchange: () => { answers[item] = lowest + i; this.showMessage(""); } }),
          make("span", {}, answer))))));
      const next = make("button", { type: "button", class: "main", onclick: confirm }, this.text.questionnaire.next);
      this.keys = { confirm };
      this.frame("text", words.title, [...paragraphs([words.instructions], {}), ...content], { ...about, go: [next] });
      return undefined;
    }

    decline() {
      const words = this.consentLine ? { ...this.text.consent, declined: this.text.panel.declined.map((line) => fill(line, { panel: this.panel })) } : this.text.consent;
      const back = make("button", { type: "button", class: "main", onclick: () => this.again() }, words.back);
      this.frame("text", words.declined_title, paragraphs(words.declined, {}), { go: [back] });
    }

    drawGroup(words, about, done) {
      let chosen = null;
      const next = make("button", { type: "button", class: "main", "aria-disabled": "true", onclick: () => confirm() }, words.next);
      const confirm = () => (chosen === null ? this.showMessage(this.text.trial.choose) : done({ group: chosen }));
      const choices = this.scale.groups.map((group) => make("label", { class: "choice" },
        make("input", { type: "radio", name: "group", value: group, onchange: () => {
          chosen = group;
          next.removeAttribute("aria-disabled");
          this.showMessage("");
        } }), make("span", {}, this.text.groups[group])));
      this.keys = { confirm };
      const content = make("fieldset", {}, make("legend", {}, words.question), make("div", { class: "choices list" }, ...choices));
      this.frame("text", words.title, [content], { ...about, go: [next] });
    }

    describeTraits(traits, words) {
      const { low, high } = this.scale;
      const list = traits.map((trait) => {
        const own = this.text.traits[trait];
        const scale = fill(words.scale, { lowest: low, highest: high, low: own.low, high: own.high });
        return [make("dt", {}, own.question), make("dd", {}, own.definition ? own.definition + " " : "", scale)];
      });
      return [make("p", {}, traits.length > 1 ? words.several : words.one), make("dl", {}, ...list.flat())];
    }

    drawRated(state, about, done) {
      const { step } = state;
      const { text, scale } = this;
      const own = text.traits[step.traits[0]];
      const slider = scale.answer === "slider";
      let question = own.question;
      if (step.kind === "check") {
        question = slider ? text.check[step.wanted === scale.low ? "slider_low" : "slider_high"] : fill(text.check.question, step);
      }
      let start = null;
      let answer = null;
      const next = make("button", { type: "button", class: "main", "aria-disabled": "true", onclick: () => confirm() }, text.trial.next);
      const chosen = make("p", { class: "chosen", "aria-live": "polite" }, text.trial.open);
      const confirm = () => {
        if (answer === null) this.showMessage(slider ? text.trial.move : text.trial.choose);
        else done(answer);
      };
      const choose = (rating) => {
        if (start === null) return; // the face is not shown yet
        answer = {
          rating, moved: slider ? true : null, rt: Math.round((performance.now() - start) * 10) / 10,
          device: `${this.pointer} ${window.innerWidth}x${window.innerHeight}`, language: this.language,
        };
        chosen.textContent = fill(text.trial.chosen, { value: rating });
        next.removeAttribute("aria-disabled");
        this.showMessage("");
        if (!scale.confirm) confirm();
      };
      const [control, press] = slider ? this.slider(question, own, choose) : this.buttons(question, own, choose);
      const picture = make("div", { class: step.image === null ? "face empty" : "face" });
      const begin = () => requestAnimationFrame(() => { start = performance.now(); });
      const place = () => {
        start = null;
        if (step.image === null) {
          picture.replaceChildren(make("p", {}, text.check.text));
          begin();
          return;
        }
        this.loadFace(step.image).then((address) => {
          const image = make("img", { src: address, alt: text.trial.alt });
          return image.decode().then(() => { picture.replaceChildren(image); begin(); });
        }).catch(() => { this.showMessage(text.status.lost); setTimeout(place, 2000); });
      };
      const part = step.kind === "practice" ? text.trial.practice : fill(text.block.title, state);
      const kind = make("p", { class: "kind" }, part);
      const definition = own.definition && step.kind !== "check" ? make("p", { class: "definition" }, own.definition) : null;
      const content = [kind, definition, picture, control, chosen].filter((part) => part !== null);
      this.frame("rated", question, content, { ...about, go: scale.confirm ? [next] : [] });
      this.keys = { confirm, press };
      this.resumed = place; // after a pause, the response time starts again
      place();
    }

    buttons(question, own, choose) {
      const values = [];
      for (let value = this.scale.low; value <= this.scale.high; value += 1) values.push(value);
      const inputs = values.map((value) => make("input", { type: "radio", name: "rating", value, onchange: () => choose(value),
        "aria-label": value === values[0] ? `${value}: ${own.low}` : value === values.at(-1) ? `${value}: ${own.high}` : String(value) }));
      const group = make("fieldset", { class: "scale", "aria-label": question },
        make("div", { class: "choices" }, ...inputs.map((input, i) => make("label", { class: "choice" }, input, make("span", {}, String(values[i]))))),
        make("p", { class: "anchors" }, make("span", {}, own.low), make("span", {}, own.high)));
      const press = (key) => {
        const place = values.findIndex((value) => String(value) === key);
        if (place < 0) return;
        this.pointer = "keyboard";
        inputs[place].checked = true;
        choose(values[place]);
      };
      return [group, press];
    }

    slider(question, own, choose) {
      const { low, high, step } = this.scale;
      const middle = low + Math.round((high - low) / 2 / step) * step;
      const range = make("input", { type: "range", class: "untouched", min: low, max: high, step, value: middle,
        "aria-label": question, "aria-valuetext": this.text.trial.open });
      const moved = () => {
        range.classList.remove("untouched");
        range.setAttribute("aria-valuetext", range.value);
        choose(Number(range.value));
      };
      range.addEventListener("input", moved);
      range.addEventListener("pointerup", moved); // also if the participant chooses the middle, where the slider starts
      const control = make("div", { class: "scale" }, range, make("p", { class: "anchors" }, make("span", {}, own.low), make("span", {}, own.high)));
      const press = (key) => {
        if (!/^[1-9]$/.test(key) || high > 9 || Number(key) < low || Number(key) > high) return;
        this.pointer = "keyboard";
        range.value = key;
        moved();
      };
      return [control, press];
    }

    pressed(event) {
      if (!this.keys || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
      const target = event.target;
      if (target.matches("select, summary, input[type=text]")) return;
      if (target.matches("input[type=range]") && event.key.startsWith("Arrow")) this.pointer = "keyboard";
      if (event.key === "Enter") {
        if (target.matches("button")) return; // handled by the button
        event.preventDefault();
        this.keys.confirm();
      } else if (this.keys.press) this.keys.press(event.key);
    }

    // Hide the page during a pause; an answer that was chosen but not confirmed remains.
    stop() {
      const words = this.text.stopped;
      const { main, keys } = this;
      const paused = make("main", { class: "text" }, make("h1", { tabindex: "-1" }, words.title), ...paragraphs(words[this.stopped], {}),
        make("div", { class: "go" }, make("button", { type: "button", class: "main", onclick: () => {
          paused.remove();
          main.hidden = false;
          this.root.querySelector(".bottom .row button").hidden = false;
          this.keys = keys;
          if (main.classList.contains("rated")) this.resumed();
          main.querySelector("h1").focus({ preventScroll: true });
        } }, words.continue)));
      this.keys = null;
      main.hidden = true;
      this.root.querySelector(".bottom .row button").hidden = true;
      main.after(paused);
      paused.querySelector("h1").focus({ preventScroll: true });
    }
  }

  return { View, make, fill, paragraphs, remember };
})();
