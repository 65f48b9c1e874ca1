"use strict";
/* The picker of faces and maps: one for the report and the explorer. */
const Faces = (() => {
  const byId = (id) => document.getElementById(id);
  const make = (tag, text, properties) => Object.assign(document.createElement(tag), { textContent: text || "" }, properties);
  const minus = (text) => String(text).replace("-", "\u2212");
  const write = (value) => (value === null || value === undefined ? "\u2013" : minus(value.toFixed(2)));
  const fill = (select, names) => select.replaceChildren(...names.map(([value, name]) => make("option", name, { value })));

  function save(blob, name) {
    const link = make("a", "", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  /* Add buttons to a line of tools. */
  const buttons = (line) => (text, act) => {
    const button = make("button", text, { type: "button" });
    button.addEventListener("click", () => act(button));
    line.append(button);
  };

  /* Copy as a selection, with italics and cells; scripts of a page from a disk may not use the clipboard. */
  function copy(button, part) {
    const before = button.textContent, range = document.createRange(), selection = getSelection();
    range.selectNodeContents(part);
    selection.removeAllRanges();
    selection.addRange(range);
    const done = document.execCommand("copy");
    if (done) selection.removeAllRanges();
    button.textContent = done ? "Copied" : "Copy the selected text by hand";
    setTimeout(() => { button.textContent = before; }, 1500);
  }

  /* A command for a terminal: bash, zsh, PowerShell and cmd read words in double quotes. */
  const quote = (word) => (/^[\w./:@%+=,-]+$/.test(word) ? word : `"${word.replace(/["\\$`]/g, "\\$&")}"`);
  const command = (words) => words.map(String).map(quote).join(" ");

  /* A face, with a map beneath it if there is one. */
  function overlay(face, map, about) {
    const frame = make("div", "", { className: "overlay" });
    frame.append(make("img", "", { src: map || face, alt: about }));
    if (map) frame.append(make("img", "", { src: face, alt: "", className: "over" }));
    return frame;
  }

  /* study: groups, traits, scale, errors[group][trait], ramp, unit, folder, and images: name, face, and
     cells[group][trait] = [observed, predicted]. A face with map = false is not offered.
     explain(image, trait): maps[group], difference, limit, and optionally face (a larger picture), cues
     (region and value of each group), command (other words, none if empty) and note; or a promise of it.
     shown(answer, image, trait) is called when an answer was drawn. */
  function pick(study, explain, shown = () => {}) {
    const { groups, traits, images } = study, pair = groups.length === 2;
    const trait = byId("pick-trait"), first = byId("pick-order"), image = byId("pick-image");
    const strip = byId("strip"), panes = byId("panes"), opacity = byId("pick-opacity"), note = byId("pick-note");
    let order = [], turn = 0, last = null;

    const cellOf = (i, g) => images[i].cells[g][+trait.value];
    /* The prediction by which faces are sorted: of one group, or the mean of all. */
    function predicted(i) {
      const values = groups.map((_, g) => g).filter((g) => first.value === "" || g === +first.value)
        .map((g) => cellOf(i, g)).filter((cell) => cell && cell[1] !== null).map((cell) => cell[1]);
      return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
    }

    function sort() {
      const before = image.value, listed = images.map((_, i) => i).filter((i) => images[i].map !== false);
      const value = (i) => predicted(i) ?? Infinity;
      order = listed.filter((i) => !images[i].added).sort((a, b) => value(a) - value(b) || a - b);
      const all = [...listed.filter((i) => images[i].added), ...order];
      fill(image, all.map((i) => [i, `${images[i].name} (${write(predicted(i))})`]));
      if (all.includes(+before) && before !== "") image.value = before;
      strip.replaceChildren(...order.map((i) => {
        const button = make("button", "", { type: "button", tabIndex: -1 });
        button.setAttribute("role", "option");
        button.dataset.image = i;
        button.append(make("img", "", { src: images[i].face, alt: images[i].name, loading: "lazy", decoding: "async" }));
        button.addEventListener("click", () => go(i));
        return button;
      }));
    }

    /* A rating scale with the prediction, the band of its error, and the mean rating. */
    function line(cell, error) {
      const [low, high] = study.scale, scale = make("div", "", { className: "scale" });
      const place = (value) => Math.min(100, Math.max(0, (100 * (value - low)) / (high - low)));
      const mark = (tag, kind, from, to) => {
        const element = make(tag, "", { className: kind });
        element.style.left = place(from) + "%";
        if (to !== undefined) element.style.width = place(to) - place(from) + "%";
        scale.append(element);
      };
      if (error !== null) mark("b", "", cell[1] - error, cell[1] + error);
      if (cell[0] !== null) mark("i", "observed", cell[0]);
      mark("i", "predicted", cell[1]);
      scale.append(make("span", low), make("span", high));
      scale.setAttribute("aria-hidden", true);
      return scale;
    }

    function pane(face, map, name, about) {
      const figure = make("figure"), caption = make("figcaption");
      caption.append(make("b", name));
      figure.append(overlay(face, map, about), caption);
      return figure;
    }

    function paneOf(g, i, face, map) {
      const name = images[i].name, t = +trait.value, cell = cellOf(i, g), error = study.errors[g][t];
      const figure = pane(face, map, groups[g], `Map of ${groups[g]} for ${traits[t]} over the face ${name}`);
      if (!map) figure.firstChild.replaceChildren(make("p", "No map", { className: "label" }));
      if (!cell || cell[1] === null) return figure;
      const band = error === null ? "" : ` \u00b1 ${write(error)}`;
      figure.lastChild.append(make("span", `Predicted: ${write(cell[1])}${band}`, { className: "predicted" }));
      if (cell[0] !== null) figure.lastChild.append(make("span", `Mean rating: ${write(cell[0])}`));
      if (study.scale) figure.append(line(cell, error));
      return figure;
    }

    function draw(i, answer) {
      const chosen = images[i], t = +trait.value, face = answer.face || chosen.face;
      const drawn = [pane(face, null, "Face", `Face ${chosen.name}`)];
      groups.forEach((_, g) => { if (cellOf(i, g)) drawn.push(paneOf(g, i, face, answer.maps[g])); });
      if (answer.difference) {
        const name = `${groups[0]} \u2212 ${groups[1]}`;
        drawn.push(pane(face, answer.difference, name, `Difference of the maps, ${name}, over the face ${chosen.name}`));
        drawn.at(-1).lastChild.append(make("span", `Red: more in ${groups[0]}; blue: more in ${groups[1]}`));
      }
      panes.replaceChildren(...drawn);
      const ramp = document.querySelector("#picker .ramp"), ends = ramp.querySelectorAll("span");
      ramp.hidden = !answer.maps.some(Boolean);
      ends[0].textContent = `\u2212${(answer.limit || 0).toPrecision(2)} lowers`;
      ends[2].textContent = `raises +${(answer.limit || 0).toPrecision(2)}`;
      const cues = answer.cues || [], table = byId("pick-cues");
      const row = (words, tag) => {
        const line = make("tr");
        words.forEach((text, place) => {
          const cell = make(place ? tag : "th", text, { className: place ? "" : "name" });
          if (cell.tagName === "TH") cell.scope = tag === "th" ? "col" : "row";
          line.append(cell);
        });
        return line;
      };
      table.hidden = !cues.length;
      table.querySelector("thead").replaceChildren(row(["Region", ...groups], "th"));
      const signed = (value) => (value > 0 ? "+" : "") + write(value);
      table.querySelector("tbody").replaceChildren(...cues.map(([region, ...values]) => row([region, ...values.map(signed)], "td")));
      const own = ["--trait", traits[t], "--image", chosen.name, "--opacity", opacity.value / 100];
      const words = answer.command || ["traitlens", "figure", "faces", study.folder, ...own];
      const commands = words.length ? [["The same as a figure:", words]] : [];
      if (cues.length && words.length) commands.push(["What each region adds:", ["traitlens", "figure", "profile", study.folder, "--image", chosen.name]]);
      byId("pick-commands").replaceChildren(...commands.map(([about, of]) => {
        const line = make("p", about, { className: "tools" }), code = make("code", command(of));
        line.append(code);
        buttons(line)("Copy", (button) => copy(button, code));
        return line;
      }));
    }

    function mark(i) {
      const here = order.includes(i) ? i : order[0];
      for (const button of strip.children) {
        const place = +button.dataset.image;
        button.setAttribute("aria-selected", place === i);
        button.tabIndex = place === here ? 0 : -1;
        if (place === i) strip.scrollLeft = button.offsetLeft - strip.offsetLeft - strip.clientWidth / 2 + button.clientWidth / 2;
      }
      byId("pick-name").textContent = `${images[i].name}: ${traits[+trait.value]}`;
    }

    function say(text) {
      note.textContent = text;
      note.hidden = !text;
    }

    async function show() {
      const i = +image.value, t = +trait.value, mine = ++turn;
      mark(i);
      let answer = null, text = "";
      try {
        answer = explain(i, t);
        if (answer instanceof Promise) {
          say("Computing maps \u2026");
          panes.classList.add("waiting");
        }
        answer = await answer;
        text = answer.note || "";
      } catch (error) {
        answer = null;
        text = error.message;
      }
      if (mine !== turn) return;
      panes.classList.remove("waiting");
      say(text);
      if (answer === null) return;
      last = [i, answer];
      draw(i, answer);
      shown(answer, i, t);
      fade();
    }

    function go(i) {
      image.value = i;
      return show();
    }

    function fade() { document.querySelectorAll(".over").forEach((face) => { face.style.opacity = opacity.value / 100; }); }

    /* The shown face and maps beside each other, as one picture. */
    function savePanes() {
      const side = 448, figures = [...panes.children], canvas = make("canvas", "", { width: side * figures.length, height: side + 40 });
      const context = canvas.getContext("2d");
      context.fillStyle = "#fff";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.fillStyle = "#000";
      context.font = "24px sans-serif";
      figures.forEach((figure, place) => {
        figure.querySelectorAll("img").forEach((layer) => {
          const over = layer.className === "over";
          context.filter = over ? "grayscale(1)" : "none";
          context.globalAlpha = over ? opacity.value / 100 : 1;
          context.globalCompositeOperation = over ? "multiply" : "source-over";
          context.drawImage(layer, place * side, 0, side, side);
        });
        Object.assign(context, { filter: "none", globalAlpha: 1, globalCompositeOperation: "source-over" });
        context.fillText(figure.querySelector("b").textContent, place * side + 8, side + 28, side - 16);
      });
      const chosen = images[+image.value], name = `${chosen.name} ${traits[+trait.value]}`.replace(/[^\p{L}\p{N}.-]+/gu, "_");
      canvas.toBlob((blob) => save(blob, `${name}${chosen.hidden ? "_not_for_publication" : ""}.png`));
    }

    strip.addEventListener("keydown", (event) => {
      const here = order.indexOf(+document.activeElement.dataset.image);
      const places = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: order.length - 1 };
      if (!(event.key in places)) return;
      event.preventDefault();
      const to = order[places[event.key]];
      if (to === undefined) return;
      go(to);
      strip.querySelector(`[data-image="${to}"]`).focus();
    });
    for (const select of [trait, first]) select.addEventListener("change", () => { sort(); show(); });
    image.addEventListener("change", show);
    opacity.addEventListener("input", fade);
    opacity.addEventListener("change", () => {
      if (last) draw(...last);
      fade();
    });
    buttons(byId("pick-save"))("Save these pictures", savePanes);
    fill(trait, traits.map((name, t) => [t, name]));
    fill(first, [...(groups.length > 1 ? [["", "All groups"]] : []), ...groups.map((name, g) => [g, name])]);
    const ramp = document.querySelector("#picker .ramp");
    ramp.querySelector("img").src = study.ramp;
    ramp.querySelector("p").textContent = `${study.unit}; red raises, blue lowers the predicted rating`;
    byId("pick-band").hidden = !study.errors.flat().some((error) => error !== null);
    byId("picker").hidden = false;
    sort();
    image.value = order.at(-1);
    show();
    /* Add a face that the study does not hold, and show it. */
    return { show, go, add(entry) { images.push({ ...entry, added: true }); sort(); return go(images.length - 1); } };
  }

  return { byId, make, write, save, buttons, copy, overlay, pick };
})();
