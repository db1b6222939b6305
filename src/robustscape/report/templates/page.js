"use strict";
(() => {
  const form = document.querySelector(".filter");
  const search = document.getElementById("search");
  const boxes = [...form.querySelectorAll("input[type=checkbox]")];
  const count = form.querySelector("output");
  const items = [...document.querySelectorAll("article")].map((node) => ({
    node,
    keys: node.dataset.keys.split(" "),
    text: [...node.querySelectorAll(".head, .caption, .notes, .claims, .numbers thead")].map((n) => n.textContent).join(" ").toLowerCase(),
    nav: document.querySelector(`[data-nav="${node.id}"]`),
  }));
  const kinds = ["table", "figure"];

  // An item is shown if it has every word searched for, one of the ticked kinds and one of the ticked states.
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const ticked = boxes.filter((box) => box.checked).map((box) => box.value);
    const groups = [ticked.filter((key) => kinds.includes(key)), ticked.filter((key) => !kinds.includes(key))];
    let shown = 0;
    for (const item of items) {
      const fits = words.every((word) => item.text.includes(word))
        && groups.every((group) => !group.length || group.some((key) => item.keys.includes(key)));
      item.node.hidden = !fits;
      item.nav.classList.toggle("off", !fits);
      shown += fits;
    }
    for (const section of document.querySelectorAll("section.work")) {
      section.hidden = section.querySelector("article") !== null && !section.querySelector("article:not([hidden])");
    }
    document.getElementById("none").hidden = shown > 0 || !items.length;
    count.textContent = words.length || ticked.length ? `${shown} of ${items.length}` : "";
  };
  form.addEventListener("input", filter);
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
  filter(); // the browser may have restored the search text

  // The link downloads the embedded picture, so that it works in a page sent by mail, too.
  for (const link of document.querySelectorAll("a[data-picture]")) {
    const image = link.closest("article").querySelector("img");
    if (image && image.src.startsWith("data:image/svg")) link.href = image.src;
  }

  // The items in view are marked in the contents.
  if ("IntersectionObserver" in window) {
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        document.querySelector(`[data-nav="${entry.target.id}"]`).classList.toggle("here", entry.isIntersecting);
      }
    }, { rootMargin: "-20% 0px -60% 0px" });
    for (const item of items) seen.observe(item.node);
  }
  const contents = document.querySelector("nav details");
  if (contents && matchMedia("(max-width: 52rem)").matches) contents.open = false;
})();
