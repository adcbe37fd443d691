"use strict";
(() => {
  const tip = document.getElementById("tip");
  for (const title of document.querySelectorAll(".timeline [tabindex] > title")) {
    const text = title.textContent;
    title.parentNode.dataset.tip = text;
    title.parentNode.setAttribute("aria-label", text);
    title.remove();
  }
  let shown = null;
  const hide = () => { shown = null; tip.hidden = true; };
  const place = () => {
    const box = (shown.querySelector(".bar, .hit, rect") || shown).getBoundingClientRect();
    const at = shown.matches(":hover") ? pointer : box.left + box.width / 2;
    const below = box.bottom + 8 + tip.offsetHeight < innerHeight;
    tip.style.left = `${Math.max(8, Math.min(at - tip.offsetWidth / 2, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${Math.max(8, below ? box.bottom + 8 : box.top - tip.offsetHeight - 8)}px`;
  };
  let pointer = 0;
  const show = (event) => {
    pointer = event.clientX || 0;
    shown = event.target.closest("[data-tip]");
    tip.hidden = !shown;
    if (shown) {
      tip.textContent = shown.dataset.tip;
      place();
    }
  };
  document.addEventListener("pointerover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", () => { if (shown) place(); }, true);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
})();
