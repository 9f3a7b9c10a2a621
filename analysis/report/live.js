// A live page loads itself again, and stays as its reader left it: scrolled, unfolded, sorted.
"use strict";
{
  const live = document.querySelector("#live[data-reload-s]");
  const key = `diffrop:${location.pathname}`;
  const top = (element) => element.getBoundingClientRect().top;
  const words = (element) => {
    const { id, parentElement, tagName, textContent } = element;
    const figure = element.closest("figure")?.querySelector("h3")?.textContent ?? "";
    const own = tagName === "SUMMARY" ? parentElement.id || figure + textContent : id || textContent;
    return `${tagName} ${own}`;
  };
  // Elements by what they say: the next page may have others between them.
  const named = (selector) => {
    const found = new Map();
    for (const element of document.querySelectorAll(selector)) {
      let name = words(element);
      while (found.has(name)) name += " again";
      found.set(name, element);
    }
    return found;
  };
  const nameOf = (selector, wanted) =>
    [...named(selector)].find(([, element]) => element === wanted)?.[0];
  const DOUBT_MIN = 60; // a driver that was killed can no longer say that its study has ended
  const [HEADS, FOCUS] = ["h1, h2, h3, summary", "a, summary, th button, .scroll"];
  const panes = () => [...document.querySelectorAll(".scroll")];
  const tables = () => [...document.querySelectorAll("table.sortable")];
  const keep = () => {
    const above = [...named(HEADS)].filter(
      ([, head]) => head.getClientRects().length && top(head) <= 80,
    );
    const last = above.at(-1);
    return {
      head: last && [last[0], top(last[1])],
      open: [...named("summary")].filter(([, one]) => one.parentElement.open).map(([name]) => name),
      focus: nameOf(FOCUS, document.activeElement),
      panes: panes().map((pane) => [pane.scrollLeft, pane.scrollTop]),
      sorted: tables().map((table) => {
        const head = table.querySelector("th[aria-sort]");
        return [head?.textContent, head?.getAttribute("aria-sort")];
      }),
    };
  };
  const restore = (kept) => {
    for (const [name, one] of named("summary")) one.parentElement.open = kept.open.includes(name);
    tables().forEach((table, index) => {
      const [text, order] = kept.sorted[index] ?? [];
      const head = [...table.tHead.rows[0].cells].find((cell) => cell.textContent === text);
      for (let click = 0; click < 2 && head && head.getAttribute("aria-sort") !== order; click++) {
        head.querySelector("button").click();
      }
    });
    panes().forEach((pane, index) => pane.scrollTo(...(kept.panes[index] ?? [0, 0])));
    named(FOCUS).get(kept.focus)?.focus({ preventScroll: true });
    const head = kept.head && named(HEADS).get(kept.head[0]);
    scrollTo({ top: head ? scrollY + top(head) - kept.head[1] : 0, behavior: "instant" });
  };
  try {
    const kept = JSON.parse(sessionStorage.getItem(key));
    sessionStorage.removeItem(key);
    if (kept) {
      history.scrollRestoration = "manual";
      restore(kept);
      addEventListener("load", () => restore(kept), { once: true });
    }
  } catch {
    // A browser that keeps nothing shows the page from its top.
  }
  const reload = () => {
    if (document.hidden || String(getSelection()) !== "") return;
    try {
      sessionStorage.setItem(key, JSON.stringify(keep()));
    } catch {
      return; // it would jump
    }
    location.reload();
  };
  const age = () => {
    const minutes = Math.round((Date.now() / 1000 - Number(live.dataset.drawn)) / 60);
    const doubt = minutes >= DOUBT_MIN ? " (diffrop status says whether the study still runs)" : "";
    if (minutes >= 1) live.querySelector("[data-age]").textContent = `, ${minutes} min ago${doubt}`;
  };
  if (live) {
    age();
    setInterval(age, 10_000);
    setInterval(reload, 1000 * Number(live.dataset.reloadS));
    document.addEventListener("visibilitychange", reload);
  }
}
