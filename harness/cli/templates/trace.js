"use strict";
const tools = document.getElementById("tools");
if (tools) {
  const packets = [...document.querySelectorAll(".packet")], picture = document.querySelector("svg");
  const [text, end, decider, noise, through, shown] =
    ["text", "end", "decider", "noise", "through", "shown"].map(id => document.getElementById(id));
  const words = new Map();  // of each packet, when they are first searched
  let place = "";

  function has(packet, wanted) {
    if (wanted.length && !words.has(packet)) words.set(packet, packet.textContent.toLowerCase());
    return wanted.every(word => words.get(packet).includes(word));
  }

  function filter() {
    const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const packet of packets) {
      const { end: itsEnd, decider: itsDecider, path } = packet.dataset;
      packet.hidden = !((!noise || noise.checked || !("noise" in packet.dataset)) && (!end.value || itsEnd === end.value)
        && (!decider.value || itsDecider === decider.value) && (!place || path.split(" ").includes(place)) && has(packet, wanted));
      count += !packet.hidden;
    }
    shown.textContent = count === packets.length ? "" : `${count} of ${packets.length} packets shown`;
  }

  function dim() {
    for (const lit of document.querySelectorAll(".lit")) lit.classList.remove("lit", "stop-good", "stop-bad", "stop-other");
    picture.classList.remove("lighting");
  }

  function light(packet) {
    dim();
    packet.classList.add("lit");
    picture.classList.add("lighting");
    const path = packet.dataset.path.split(" ").map(id => document.getElementById(id)).filter(Boolean);
    for (const part of path) part.classList.add("lit");
    if (path.length) path.at(-1).classList.add(`stop-${packet.dataset.tone}`);
  }

  function cross(part) {
    place = part && place !== part.id ? part.id : "";
    through.hidden = !place;
    through.textContent = place ? `by ${part.dataset.name} ✕` : "";
    filter();
  }

  function unfold() {
    const packet = document.getElementById(location.hash.slice(1));
    if (packet && packet.matches(".packet")) {
      packet.hidden = false;
      packet.open = true;
      packet.scrollIntoView();
    }
  }

  document.getElementById("packets").addEventListener("toggle", event => {
    if (event.target.open) light(event.target);
    else if (event.target.classList.contains("lit")) dim();
  }, true);
  picture.addEventListener("click", event => cross(event.target.closest(".point, .device")));
  through.addEventListener("click", () => cross(null));
  for (const input of [text, end, decider, noise]) if (input) input.addEventListener("input", filter);
  addEventListener("hashchange", unfold);
  tools.hidden = false;
  filter();
  unfold();
}
