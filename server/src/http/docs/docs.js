"use strict";
// Shows what /openapi.json says, operation by operation, and sends what is typed. Everything is put in as text.

const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

const named = (api, schema) => (schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema) ?? {};

// A value of that shape, for the field where the body is typed.
const example = (api, given) => {
  const schema = named(api, given);
  if (schema.example !== undefined) return schema.example;
  const choice = (schema.oneOf ?? schema.anyOf)?.find((one) => one.type !== "null");
  if (choice) return example(api, choice);
  const type = [].concat(schema.type ?? "object").find((one) => one !== "null");
  if (type === "array") return [example(api, schema.items)];
  if (type === "object") {
    const fields = Object.entries(schema.properties ?? {});
    const shown = fields.filter(([name, field]) => schema.required?.includes(name) || named(api, field).example !== undefined);
    return Object.fromEntries(shown.map(([name, field]) => [name, example(api, field)]));
  }
  return { string: "A text", integer: 1, number: 0.5, boolean: false }[type] ?? null;
};

const bodyOf = (api, type, content) => {
  if (content.example !== undefined) return content.example;
  return type === "application/json" ? JSON.stringify(example(api, content.schema), null, 2) : "";
};

const field = (id, label, control) => make("label", { for: id }, label, control);

const operation = (api, path, method, told) => {
  const id = told.operationId + method;
  const form = make("form");
  const inputs = (told.parameters ?? []).map((parameter) => {
    const input = make("input", { id: `${id}-${parameter.name}`, ...(parameter.required ? { required: "" } : {}) });
    form.append(field(input.id, `${parameter.name}: ${parameter.description ?? ""}`, input));
    return [parameter, input];
  });
  const contents = Object.entries(told.requestBody?.content ?? {});
  const type = make("select", { id: `${id}-type` }, ...contents.map(([type]) => make("option", {}, type)));
  const body = make("textarea", { id: `${id}-body`, rows: "7", spellcheck: "false" });
  const fill = () => {
    const content = contents.find(([name]) => name === type.value);
    body.value = content ? bodyOf(api, ...content) : "";
  };
  if (contents.length > 0) {
    fill();
    type.addEventListener("change", fill);
    form.append(field(type.id, "Content type", type), field(body.id, "Body", body));
  }
  const answer = make("pre", { hidden: "", tabindex: "0", "aria-label": "Answer" });
  const status = make("p", { role: "status" });
  form.append(make("button", {}, "Send"), status, answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let address = path;
    const query = new URLSearchParams();
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.set(parameter.name, input.value);
    }
    if (query.size > 0) address += `?${query}`;
    status.textContent = "Sent…";
    const began = performance.now();
    try {
      const response = await fetch(address, {
        method: method.toUpperCase(),
        headers: contents.length > 0 ? { "content-type": type.value } : {},
        body: contents.length > 0 ? body.value : undefined,
      });
      const text = await response.text();
      status.textContent = `${response.status} after ${Math.round(performance.now() - began)} ms`;
      const isJson = response.headers.get("content-type")?.startsWith("application/json");
      answer.textContent = isJson ? JSON.stringify(JSON.parse(text), null, 2) : text;
      answer.hidden = false;
    } catch (error) {
      status.textContent = `No answer: ${error.message}`;
    }
  });
  const responses = Object.entries(told.responses).flatMap(([code, response]) => [
    make("dt", {}, code),
    make("dd", {}, response.description),
  ]);
  return make(
    "article",
    {},
    make("h2", {}, make("span", { class: "method" }, method.toUpperCase()), path),
    make("p", {}, told.summary ?? ""),
    make("p", { class: "soft" }, told.description ?? ""),
    make("h3", {}, "Try it"),
    form,
    make("h3", {}, "Answers"),
    make("dl", {}, ...responses),
  );
};

const show = async () => {
  const operations = document.getElementById("operations");
  try {
    const api = await (await fetch("/openapi.json")).json();
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, told] of Object.entries(methods)) operations.append(operation(api, path, method, told));
    }
  } catch (error) {
    operations.append(make("p", { role: "alert" }, `/openapi.json cannot be read: ${error.message}`));
  }
};

show();
