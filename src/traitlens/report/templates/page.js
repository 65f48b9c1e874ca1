"use strict";
(function () {
  const { byId, make, write, save, buttons, copy } = Faces;
  const all = (selector) => document.querySelectorAll(selector);
  addEventListener("beforeprint", () => all("details:not(.unprinted)").forEach((part) => { part.open = true; }));

  /* Contents: folded on small screens; the part that is read is marked. */
  if (window.matchMedia("(max-width: 1179px)").matches) byId("contents").open = false;
  const links = new Map([...all("nav a")].map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id).setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-10% 0px -80% 0px" });
  all("main > section").forEach((section) => { if (links.has(section.id)) watcher.observe(section); });

  /* Downloads: what the page holds, so that a moved page has no dead link. */
  function tools(after, caption) {
    const line = make("p", caption, { className: "tools" });
    after.append(line);
    return buttons(line);
  }
  const svgOf = (address) => new Blob([decodeURIComponent(address.slice(address.indexOf(",") + 1))], { type: "image/svg+xml" });
  function savePng(address, width, name) {
    const picture = new Image();
    picture.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = Math.round((width / 25.4) * 600);
      canvas.height = Math.round((canvas.width * picture.naturalHeight) / picture.naturalWidth);
      const context = canvas.getContext("2d");
      context.fillStyle = "#fff";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(picture, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(blob, name));
    };
    picture.src = address;
  }
  all("figure[data-name]").forEach((figure) => {
    const add = tools(figure, "Save: ");
    const widths = [[183, figure.querySelector("img").getAttribute("src")], [89, figure.querySelector("source").getAttribute("srcset")]];
    for (const [width, address] of widths) {
      const name = `${figure.dataset.name}_${width}mm`;
      add(`SVG, ${width} mm`, () => save(svgOf(address), `${name}.svg`));
      add(`PNG, ${width} mm`, () => savePng(address, width, `${name}.png`));
    }
  });
  const cellText = (cell) => {
    let text = cell.textContent.trim().replaceAll("\u2212", "-");
    if (text === "\u2013") text = "";
    if (/^[=+@\t]|^-(?![.\d])/.test(text)) text = `'${text}`;
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  all(".fold .table").forEach((frame) => {
    const add = tools(frame.parentElement, "");
    const csv = () => [...frame.querySelectorAll("tr")].map((row) => [...row.cells].map(cellText).join(",")).join("\r\n");
    const name = frame.getAttribute("aria-label").toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 40);
    add("Download CSV", () => save(new Blob(["\ufeff" + csv()], { type: "text/csv" }), `${name}.csv`));
    add("Copy table", (button) => copy(button, frame.querySelector("table")));
  });
  all(".paste").forEach((part) => {
    const text = make("div");
    text.append(...part.childNodes);
    part.append(text);
    tools(part, "")("Copy", (button) => copy(button, text));
  });

  const data = JSON.parse(byId("data").textContent);
  const picker = data.picker;
  if (!picker) return;
  /* Scatter plots: the nearest dot's face. */
  function follow(figure) {
    const hover = byId("hover"), drawn = figure.querySelector("img");
    const narrow = window.matchMedia("(max-width: 600px)");
    function find(event) {
      const frame = drawn.getBoundingClientRect();
      const x = (event.clientX - frame.left) / frame.width, y = (event.clientY - frame.top) / frame.height;
      for (const panel of data.scatter[narrow.matches ? "narrow" : "wide"]) {
        const [left, top, width, height] = panel.box, [low, high] = panel.limits;
        const across = (x - left) / width, down = (y - top) / height;
        if (across < 0 || across > 1 || down < 0 || down > 1) continue;
        const g = picker.groups.indexOf(panel.group), t = picker.traits.indexOf(panel.trait);
        let best = null, least = 0.06;
        picker.images.forEach((entry) => {
          const cell = entry.cells[g][t];
          if (!cell || cell[0] === null || cell[1] === null) return;
          const share = (value) => (value - low) / (high - low);
          const distance = Math.hypot(share(cell[1]) - across, 1 - share(cell[0]) - down);
          if (distance < least) { least = distance; best = [entry, cell]; }
        });
        return best;
      }
      return null;
    }
    function move(event) {
      const found = find(event);
      hover.hidden = !found;
      if (!found) return;
      hover.querySelector("img").src = found[0].face;
      hover.querySelector("p").textContent =
        `${found[0].name}\npredicted ${write(found[1][1])}\nobserved ${write(found[1][0])}`;
      const right = window.scrollX + document.documentElement.clientWidth - hover.offsetWidth - 4;
      hover.style.left = Math.max(4, Math.min(event.pageX + 14, right)) + "px";
      hover.style.top = event.pageY + 14 + "px";
    }
    drawn.addEventListener("pointermove", move);
    drawn.addEventListener("pointerdown", move);
    drawn.addEventListener("pointerleave", () => { hover.hidden = true; });
  }

  all("[data-scatter]").forEach(follow);
  if (!byId("picker")) return;
  Faces.pick(picker, (i, t) => {
    const chosen = picker.images[i], cells = chosen.cells.map((row) => row[t]);
    return {
      maps: cells.map((cell) => cell && cell[2]), difference: chosen.differences && chosen.differences[t],
      limit: picker.limits[t], cues: chosen.cues && chosen.cues[t],
    };
  });
})();
