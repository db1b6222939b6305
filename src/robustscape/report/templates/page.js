"use strict";
// Everything here is an addition: without it the page is complete, and its tables, pictures and details can be read.

// -- search and filter chips -------------------------------------------------------------------------------------------
(() => {
  const form = document.querySelector(".filter");
  if (!form) return;
  const search = document.getElementById("search");
  const boxes = [...form.querySelectorAll("input[type=checkbox]")];
  const count = form.querySelector("output");
  const links = new Map([...document.querySelectorAll("nav li")].map((node) => [node.querySelector("a").hash, node]));
  const items = [...document.querySelectorAll("article")].map((node) => ({
    node,
    keys: (node.dataset.keys || "").split(" "),
    nav: links.get(`#${node.id}`),
  }));
  // What is searched is read when it is searched for: reading it takes as long as the rest of the script.
  const textOf = (item) => (item.text ??= [...item.node.querySelectorAll(".head, .caption, .notes, .claims, .problem, .numbers thead")]
    .map((part) => part.textContent).join(" ").toLowerCase());
  const kinds = ["table", "figure"];

  // An item is shown if it has every word searched for, one of the ticked kinds and one of the ticked states.
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const ticked = boxes.filter((box) => box.checked).map((box) => box.value);
    const groups = [ticked.filter((key) => kinds.includes(key)), ticked.filter((key) => !kinds.includes(key))];
    let shown = 0;
    for (const item of items) {
      const fits = words.every((word) => textOf(item).includes(word))
        && groups.every((group) => !group.length || group.some((key) => item.keys.includes(key)));
      item.node.hidden = !fits;
      item.nav?.classList.toggle("off", !fits);
      shown += fits;
    }
    for (const section of document.querySelectorAll("section.work")) {
      section.hidden = section.querySelector("article") !== null && !section.querySelector("article:not([hidden])");
    }
    document.getElementById("none").hidden = shown > 0 || !items.length;
    count.textContent = words.length || ticked.length ? `${shown} of ${items.length}` : "";
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = !items.length;
  // Following a link to an item that the filter hides resets the filter.
  addEventListener("hashchange", () => {
    const item = items.find((one) => `#${one.node.id}` === location.hash);
    if (item && item.node.hidden) {
      form.reset();
      filter();
      item.node.scrollIntoView();
    }
  });
  if (search.value || boxes.some((box) => box.checked)) filter(); // the browser has restored them

  // The items in view are marked in the contents.
  if ("IntersectionObserver" in window) {
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) links.get(`#${entry.target.id}`)?.classList.toggle("here", entry.isIntersecting);
    }, { rootMargin: "-20% 0px -60% 0px" });
    for (const item of items) seen.observe(item.node);
  }
  const contents = document.querySelector("nav details");
  if (contents && matchMedia("(max-width: 52rem)").matches) contents.open = false;
})();

// -- what a link leads to is opened ------------------------------------------------------------------------------------
(() => {
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const closed = target && target.closest("details:not([open])");
    if (!closed) return;
    closed.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();
})();

// -- tables: sorting and copying ---------------------------------------------------------------------------------------
(() => {
  // The number that a text begins with: 61.83 of "61.83 ± 0.71", 8/255, brackets and Unicode's minus; NaN without one.
  const numberOf = (text) => {
    const found = text.trim().replace(/^\(/, "").replaceAll("−", "-").match(/^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?:\s*\/\s*(\d+))?/i);
    return found ? Number(found[1]) / (found[2] ? Number(found[2]) : 1) : NaN;
  };
  const own = (cell) => [...cell.childNodes].filter((node) => node.nodeName !== "SMALL").map((node) => node.textContent).join(" ").trim();
  const keyOf = (cell) => {
    const bar = cell.querySelector(".gap");
    if (bar) return [parseFloat(bar.style.getPropertyValue("--w")) * (bar.classList.contains("less") ? -1 : 1), ""];
    const data = cell.querySelector("data");
    const text = data ? data.value : own(cell);
    return [numberOf(text), text];
  };
  const headings = (table) => [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  const sort = (table, column, ascending) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, key: keyOf(row.cells[column]) }));
    const filled = rows.filter(({ key: [, text] }) => text !== "" && text !== "–").length;
    const numbers = rows.filter(({ key: [value] }) => !Number.isNaN(value)).length;
    const numeric = numbers > 0 && numbers * 2 >= filled;
    const empty = ({ key: [value, text] }) => (numeric ? Number.isNaN(value) : text === "" || text === "–");
    rows.sort((a, b) => {
      if (empty(a) || empty(b)) return empty(a) - empty(b); // what is not there stands last, either way
      const order = numeric ? a.key[0] - b.key[0] : collator.compare(a.key[1], b.key[1]);
      return ascending ? order : -order;
    });
    body.append(...rows.map(({ row }) => row));
    table.classList.add("sorted");
    headings(table).forEach((head, index) => {
      if (index === column) head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
  };

  const textOf = (cell) => {
    const bar = cell.querySelector(".gap");
    return bar ? "" : cell.innerText === undefined ? cell.textContent : [...cell.childNodes].map((node) => node.textContent).join(" ").replace(/\s+/g, " ").trim();
  };
  // Rows of texts as they stand: headings first, a heading of several columns before those below it.
  const gridOf = (table) => {
    const above = [...table.tHead.rows].slice(0, -1).map((row) => [...row.cells].flatMap((cell) => Array(cell.colSpan).fill(textOf(cell))));
    const head = headings(table).map((cell, index) => [...above.map((row) => row[index]), textOf(cell)].filter(Boolean).join(", "));
    return [head, ...[...table.tBodies[0].rows].map((row) => [...row.cells].map(textOf))];
  };
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const special = { "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", $: "\\$", "#": "\\#", _: "\\_", "{": "\\{", "}": "\\}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
    "∞": "$\\infty$", "±": "$\\pm$", "−": "$-$", "≤": "$\\leq$", "≥": "$\\geq$", "Δ": "$\\Delta$", "×": "$\\times$", "·": "$\\cdot$", "→": "$\\to$", "<": "$<$", ">": "$>$", "|": "$|$", "–": "--",
    "α": "$\\alpha$", "β": "$\\beta$", "γ": "$\\gamma$", "δ": "$\\delta$", "ε": "$\\varepsilon$", "η": "$\\eta$", "θ": "$\\theta$", "λ": "$\\lambda$", "μ": "$\\mu$", "π": "$\\pi$", "ρ": "$\\rho$", "σ": "$\\sigma$", "τ": "$\\tau$", "φ": "$\\varphi$" };
  const latex = (text) => [...text].map((letter) => special[letter] ?? letter).join("");
  const formats = {
    CSV: { table: (grid) => grid.map((row) => row.map(quoted).join(",")).join("\n") + "\n", cell: (text) => text.split(/ ± /).map((part) => part.replaceAll("−", "-")).join(",") },
    LaTeX: {
      table: (grid) => `\\begin{tabular}{${"l".repeat(grid[0].length)}}\n\\toprule\n${grid.map((row, index) => row.map(latex).join(" & ") + " \\\\" + (index ? "" : "\n\\midrule")).join("\n")}\n\\bottomrule\n\\end{tabular}\n`,
      cell: (text) => (Number.isNaN(numberOf(text)) ? latex(text) : `$${text.replaceAll("−", "-").replaceAll("±", "\\pm")}$`),
    },
  };

  const said = document.createElement("output");
  said.className = "sr";
  said.setAttribute("aria-live", "polite");
  document.querySelector("main")?.append(said);
  const copy = async (text, button) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // without permission, or where the page is not secure
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    said.textContent = `Copied: ${text.slice(0, 80)}`;
    const before = button.textContent;
    button.textContent = "copied";
    setTimeout(() => { button.textContent = before; }, 1200);
  };
  const buttonOf = (text, label, press) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.setAttribute("aria-label", label);
    button.addEventListener("click", () => press(button));
    return button;
  };

  // Headings and buttons are made when a table comes near the view: hundreds of tables at once would delay the first one.
  const prepare = (table) => {
    headings(table).forEach((head, index) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, index, head.getAttribute("aria-sort") !== "ascending"));
      head.append(button);
    });
    const bar = document.createElement("p");
    bar.className = "copy";
    const region = table.closest(".scroll");
    for (const [name, format] of Object.entries(formats)) {
      bar.append(buttonOf(`copy ${name}`, `copy ${name}: ${region.getAttribute("aria-label")}`, (button) => copy(format.table(gridOf(table)), button)));
    }
    region.after(bar);
  };
  const tables = [...document.querySelectorAll("table.sorts")];
  if ("IntersectionObserver" in window) {
    const near = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) {
          near.unobserve(target);
          prepare(target);
        }
      }
    }, { rootMargin: "600px" });
    for (const table of tables) near.observe(table);
  } else tables.forEach(prepare);

  // A number that is clicked is offered as CSV and as LaTeX.
  const pick = document.createElement("div");
  pick.className = "pick";
  pick.hidden = true;
  pick.setAttribute("role", "group");
  pick.setAttribute("aria-label", "Copy the number");
  let picked = null;
  for (const [name, format] of Object.entries(formats)) {
    pick.append(buttonOf(name, `Copy the number as ${name}`, (button) => copy(format.cell(own(picked)), button)));
  }
  document.querySelector("main")?.append(pick);
  const leave = () => {
    picked?.classList.remove("picked");
    picked = null;
    pick.hidden = true;
  };
  document.addEventListener("click", (event) => {
    if (event.target.closest(".pick")) return;
    const cell = event.target.closest("table.numbers td");
    leave();
    if (!cell || event.target.closest("a") || Number.isNaN(numberOf(own(cell)))) return;
    picked = cell;
    cell.classList.add("picked");
    pick.hidden = false;
    const box = cell.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    pick.style.top = `${box.bottom + scrollY + 4}px`;
    pick.style.left = `${Math.max(4, Math.min(box.left + scrollX, width - pick.offsetWidth - 8))}px`;
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") leave(); });
})();

// -- pictures open large -----------------------------------------------------------------------------------------------
(() => {
  const pictures = [...document.querySelectorAll("a.picture")];
  if (!pictures.length || !("HTMLDialogElement" in window)) return;
  const dialog = document.createElement("dialog");
  dialog.className = "zoom";
  dialog.setAttribute("aria-label", "Picture");
  dialog.innerHTML = '<div class="tools"><p></p><button type="button" data-step="-1">previous</button><button type="button" data-step="1">next</button><button type="button" data-zoom="0.8" aria-label="smaller">−</button><button type="button" data-zoom="1.25" aria-label="larger">+</button><button type="button" data-close>close</button></div><div class="pane" tabindex="0" role="region" aria-label="The picture, large"><img alt=""></div>';
  document.body.append(dialog);
  const image = dialog.querySelector("img");
  const pane = dialog.querySelector(".pane");
  let index = 0;
  let zoom = 1;
  const fit = () => {
    const small = pictures[index].querySelector("img");
    const [width, height] = [small.width && Number(small.getAttribute("width")), Number(small.getAttribute("height"))];
    const scale = Math.min((pane.clientWidth - 16) / width, (pane.clientHeight - 16) / height) * zoom;
    image.style.width = `${Math.round(width * scale)}px`;
  };
  const show = (next) => {
    index = (next + pictures.length) % pictures.length;
    zoom = 1;
    const small = pictures[index].querySelector("img");
    image.src = small.src;
    image.alt = small.alt;
    dialog.querySelector("p").textContent = pictures[index].closest("article")?.querySelector("h3")?.textContent ?? "";
    fit();
  };
  const step = (by) => {
    let next = index;
    do next = (next + by + pictures.length) % pictures.length;
    while (next !== index && pictures[next].closest("[hidden]"));
    show(next);
  };
  const enlarge = (by) => {
    zoom = Math.max(0.25, Math.min(8, zoom * by));
    fit();
  };
  pictures.forEach((link, place) => link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    dialog.showModal();
    show(place);
  }));
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.step) step(Number(button.dataset.step));
    else if (button?.dataset.zoom) enlarge(Number(button.dataset.zoom));
    else if (button || event.target === dialog) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight" && event.target !== pane) step(1);
    else if (event.key === "ArrowLeft" && event.target !== pane) step(-1);
    else if (event.key === "+") enlarge(1.25);
    else if (event.key === "-") enlarge(0.8);
  });
  image.addEventListener("click", () => enlarge(zoom > 1 ? 1 / zoom : 2));
  addEventListener("resize", () => { if (dialog.open) fit(); });
})();
