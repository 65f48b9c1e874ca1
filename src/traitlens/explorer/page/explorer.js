"use strict";
/* The explorer's page: face picker, choice of method, new faces, and the most similar faces. */
(async () => {
  const { byId, make, write, buttons, overlay } = Faces;
  const LOST = "The explorer does not answer: it may have been stopped.";

  async function ask(address, values = {}, options = {}) {
    const response = await fetch(`/api/${address}?${new URLSearchParams(values)}`, options).catch(() => { throw new Error(LOST); });
    if (!response.ok) throw new Error(await response.text());
    return response.json();
  }

  function say(text) {
    byId("message").textContent = text;
    byId("message").hidden = !text;
  }

  const study = await ask("study"), method = byId("method"), threshold = byId("threshold"), photograph = byId("photograph");
  let insisted = -1; // index of the new face whose maps are shown although it is beyond the range of the study's faces

  const explain = (i, t) => ask("maps", {
    ...(study.images[i].key ? { key: study.images[i].key } : { image: i }),
    trait: t, method: method.value, threshold: threshold.value / 100, insist: insisted === i ? 1 : 0,
  });

  function shown(answer, i, t) {
    const likeness = answer.likeness, about = [];
    if (likeness) {
      const line = make("p"), share = Math.round(100 * likeness.share);
      const gauge = make("meter", "", { min: 0, max: 100, low: 5, optimum: 100, value: share });
      gauge.setAttribute("aria-label", "Likeness to the study's faces");
      line.append(gauge, ` Likeness to the study's faces: ${share} of 100`);
      about.push(line, make("p", likeness.about, { className: "label" }));
      if (likeness.beyond) about.push(make("p", likeness.beyond, { className: "beyond" }));
      if (likeness.waits) {
        const tools = make("p", "", { className: "tools" });
        buttons(tools)("Show the map nevertheless", () => { insisted = i; picker.show(); });
        about.push(tools);
      }
    }
    byId("likeness").replaceChildren(...about);
    const near = make("div", "", { className: "grid" });
    near.append(...answer.near.map(([place, ...maps]) => {
      const face = study.images[place], figure = make("figure"), row = make("div", "", { className: "row" }), caption = make("figcaption");
      row.append(overlay(face.face, null, `The face ${face.name}`));
      maps.forEach((map, g) => { if (map) row.append(overlay(face.face, map, `Map of ${study.groups[g]} over the face ${face.name}`)); });
      buttons(caption)(face.name, async () => {
        await picker.go(place);
        byId("strip").querySelector('[aria-selected="true"]').focus();
      });
      const rated = study.groups.map((name, g) => [name, face.cells[g][t]]).filter(([, cell]) => cell);
      caption.append(make("p", "Predicted: " + rated.map(([name, cell]) => `${name} ${write(cell[1])}`).join(", "), { className: "label" }));
      figure.append(row, caption);
      return figure;
    }));
    const about_near = "Similar over all groups and traits, in standard deviations of the predictions.";
    byId("near").replaceChildren(make("h2", "Faces of the study with the most similar predicted impressions"), make("p", about_near, { className: "label" }), near);
  }

  async function look(file, number) {
    byId("several").replaceChildren();
    say("Predicting impressions \u2026");
    try {
      const answer = await ask("face", { name: file.name, ...(number === undefined ? {} : { number }) }, { method: "POST", body: file });
      say("");
      if (answer.several) offer(file, answer.several);
      else await picker.add(answer);
    } catch (error) { say(error.message); }
    photograph.value = "";
  }

  /* Show the faces of a photograph, from which the user chooses one. */
  function offer(file, faces) {
    const choices = make("div");
    choices.append(...faces.map((face, number) => {
      const button = make("button", "", { type: "button" });
      button.append(make("img", "", { src: face, alt: `Face ${number + 1} of ${faces.length}` }));
      button.addEventListener("click", () => look(file, number));
      return button;
    }));
    byId("several").replaceChildren(make("p", `${file.name} shows ${faces.length} faces. Which one?`), choices);
  }

  byId("study").textContent = `${study.name}: faces and maps`;
  document.title = byId("study").textContent;
  const options = (list) => list.map(([value, name]) => make("option", name, { value }));
  const others = make("optgroup", "", { label: "All others" });
  others.append(...options(study.methods.other));
  method.replaceChildren(...options(study.methods.named), ...(study.methods.other.length ? [others] : []));
  if (!study.predicts) byId("new").replaceChildren("New faces cannot be predicted: these results contain no readouts; run the study again");
  byId("limits").replaceChildren(...study.limits.map((limit) => make("li", limit)));
  byId("files").replaceChildren(...study.files.map((name) => make("a", name, { href: `/results/${name}`, target: "_blank" })));
  const picker = Faces.pick(study, explain, shown);
  for (const control of [method, threshold]) control.addEventListener("change", picker.show);
  photograph.addEventListener("change", () => { if (photograph.files[0]) look(photograph.files[0]); });
})();
