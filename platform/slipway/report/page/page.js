"use strict";
// The read-out under the pointer. Without it the page is complete.
for (const plot of document.querySelectorAll(".plot[data-series]")) {
  const [x0, x1] = JSON.parse(plot.dataset.view);
  const series = JSON.parse(plot.dataset.series);
  const box = document.createElement("div"), hair = document.createElement("i");
  box.className = "tip"; hair.className = "hair"; box.hidden = hair.hidden = true;
  plot.append(hair, box);
  const number = v => Math.abs(v) >= 1e4 || Number.isInteger(v) ? v.toLocaleString("en") : String(+v.toPrecision(5));
  const nearest = (xs, x) => {
    let low = 0, high = xs.length - 1;
    while (high - low > 1) { const middle = (low + high) >> 1; if (xs[middle] <= x) low = middle; else high = middle; }
    return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
  };
  plot.addEventListener("pointermove", event => {
    const frame = plot.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - frame.left) / frame.width));
    const x = x0 + share * (x1 - x0);
    const found = series.map(([name, colour, xs, ys]) => { const at = nearest(xs, x); return [name, colour, xs[at], ys[at]]; });
    const near = found.reduce((a, b) => Math.abs(b[2] - x) < Math.abs(a[2] - x) ? b : a)[2];
    box.textContent = "";
    const head = document.createElement("b");
    head.textContent = `${plot.dataset.x} ${number(near)}`;
    box.append(head);
    for (const [name, colour, at, value] of found) {
      const line = document.createElement("div"), key = document.createElement("i");
      key.className = `key k${colour}`;
      line.append(key, `${name} ${number(value)}` + (at === near ? "" : ` (at ${number(at)})`));
      box.append(line);
    }
    const left = 100 * (near - x0) / (x1 - x0);
    hair.style.left = `${left}%`;
    box.style.left = left < 50 ? `calc(${left}% + 10px)` : "auto";
    box.style.right = left < 50 ? "auto" : `calc(${100 - left}% + 10px)`;
    box.hidden = hair.hidden = false;
  });
  plot.addEventListener("pointerleave", () => { box.hidden = hair.hidden = true; });
}
