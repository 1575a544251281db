"use strict";
// Softens the distributions of one test example by the temperature of the slider.
(() => {
  const source = document.getElementById("explore-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const slider = document.getElementById("temperature");
  const rows = [...document.querySelectorAll("#dark-knowledge .bars tbody tr")];
  let current = data.first;

  function softmax(logits, temperature) {
    const highest = Math.max(...logits);
    const powers = logits.map((z) => Math.exp((z - highest) / temperature));
    const total = powers.reduce((sum, power) => sum + power, 0);
    return powers.map((power) => power / total);
  }

  // The classes of the bars: all of them, or the teacher's most likely ones.
  function order(logits) {
    const ids = logits.map((_, id) => id);
    if (ids.length <= data.listed) return ids;
    return ids.sort((a, b) => logits[b] - logits[a]).slice(0, data.listed);
  }

  function percent(share) {
    const value = 100 * share;
    return `${value >= 0.1 || value === 0 ? value.toFixed(1) : value.toPrecision(1)} %`;
  }

  function setBar(cell, share) {
    cell.dataset.share = share;
    cell.querySelector(".bar").style.width = `${100 * share}%`;
    cell.querySelector(".share").textContent = percent(share);
  }

  function draw() {
    const temperature = Number(slider.value);
    const { label, logits } = data.examples[current];
    const [teacher, student] = logits.map((z) => softmax(z, temperature));
    order(logits[0]).forEach((id, place) => {
      const [head, first, second] = rows[place].cells;
      head.textContent = data.classes[id];
      rows[place].classList.toggle("chosen", id === label);
      setBar(first, teacher[id]);
      setBar(second, student[id]);
    });
    for (const id of ["temperature-value", "bars-temperature"]) {
      document.getElementById(id).textContent = temperature;
    }
    const entropy = -teacher.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);
    const divergence = teacher.reduce(
      (sum, p, id) => sum + (p > 0 ? p * Math.log(p / Math.max(student[id], 1e-300)) : 0), 0);
    document.getElementById("measures").textContent =
      `Entropy of the teacher ${entropy.toFixed(2)} of at most ${Math.log(teacher.length).toFixed(2)} nats. ` +
      `KL(teacher ‖ student) ${divergence.toFixed(3)} nats.`;
  }

  function choose(pick) {
    current = Number(pick.dataset.example);
    for (const other of document.querySelectorAll("button.pick")) {
      other.setAttribute("aria-pressed", String(other === pick));
    }
    const picture = pick.querySelector("img, svg, .values").cloneNode(true);
    document.getElementById("example-picture").replaceChildren(picture);
    const { index, label } = data.examples[current];
    const strong = document.createElement("strong");
    strong.textContent = data.classes[label];
    document.getElementById("example-title").replaceChildren(`Test example ${index}: class `, strong);
    draw();
    document.getElementById("dark-knowledge").scrollIntoView({ block: "nearest" });
  }

  for (const plain of document.querySelectorAll(".pick")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = plain.className;
    button.dataset.example = plain.dataset.example;
    button.setAttribute("aria-pressed", String(Number(plain.dataset.example) === current));
    button.append(...plain.childNodes);
    button.addEventListener("click", () => choose(button));
    plain.replaceWith(button);
  }
  slider.addEventListener("input", draw);
  draw();
})();
