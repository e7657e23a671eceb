"use strict";
// The form works without this; with it the page stays where it is. Everything is put in as text.

const form = document.querySelector("form");
const answer = document.getElementById("answer");
const button = form.querySelector("button");

const make = (name, attributes, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

const show = ({ results: [result] }) => {
  const rows = Object.entries(result.probabilities).map(([label, score]) =>
    make(
      "li",
      {},
      make("span", {}, label),
      make("meter", { min: "0", max: "1", value: String(score) }),
      make("span", {}, `${(score * 100).toFixed(1)} %`),
    ),
  );
  answer.replaceChildren(make("p", { class: "label" }, result.label), make("ul", { class: "scores" }, ...rows));
};

const refuse = (words) => answer.replaceChildren(make("p", { class: "refused", role: "alert" }, words));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    const body = new URLSearchParams(new FormData(form));
    const response = await fetch(`${form.getAttribute("action")}/classify`, { method: "POST", body });
    const told = await response.json();
    if (response.ok) show(told);
    else refuse(told.error);
  } catch {
    refuse("No answer came. Try again.");
  } finally {
    button.removeAttribute("aria-disabled");
  }
});
