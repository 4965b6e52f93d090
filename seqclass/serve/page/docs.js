"use strict";
// Shows the OpenAPI document of this server; what is written in it goes into the page as text alone.

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function resolve(api, schema) {
  return schema.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema;
}

function kind(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(kind).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return `[${kind(schema.items || {})}, ...]`;
  return schema.type || "anything";
}

function fields(api, schema) {
  const table = element("table");
  for (const [name, field] of Object.entries(schema.properties || {})) {
    const said = [field.description, "default" in field ? `Default: ${JSON.stringify(field.default)}.` : ""];
    table.append(element("tr", "", element("td", "", element("code", name)), element("td", kind(field)),
      element("td", said.filter(Boolean).join(". ").replace("..", "."))));
  }
  return table;
}

function route(api, path, method, told) {
  const about = (told.description || "").replaceAll("`", ""), older = told.deprecated ? " (an older name)" : "";
  const shown = element("details", "", element("summary", "", element("span", method.toUpperCase()), element("code", path),
    ` ${about.split("\n")[0].replace(/\.$/, "")}${older}`));
  shown.querySelector("span").className = "method";
  shown.append(element("p", about));
  if (told.parameters?.length) {
    shown.append(element("h3", "Parameters"), fields(api, { properties: Object.fromEntries(
      told.parameters.map((each) => [each.name, { description: each.description, ...each.schema }])) }));
  }
  for (const [type, body] of Object.entries(told.requestBody?.content || {})) {
    const schema = resolve(api, body.schema);
    const example = body.example || (schema.examples && JSON.stringify(schema.examples[0], null, 2));
    shown.append(element("h3", type), element("p", schema.properties ? "" : kind(schema)), fields(api, schema));
    if (example) shown.append(element("pre", example));
  }
  shown.append(element("h3", "Answers"));
  const answers = element("table");
  for (const [status, answer] of Object.entries(told.responses)) {
    const types = Object.entries(answer.content || {}).map(([type, body]) =>
      body.schema && Object.keys(body.schema).length ? `${type}: ${kind(body.schema)}` : type);
    answers.append(element("tr", "", element("td", status), element("td", answer.description), element("td", types.join(", "))));
  }
  shown.append(answers);
  return shown;
}

async function show() {
  const api = await (await fetch("openapi.json")).json();
  const routes = document.getElementById("routes");
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, told] of Object.entries(methods)) {
      const group = told.tags?.[0] || "other";
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(route(api, path, method, told));
    }
  }
  for (const [group, found] of groups) routes.append(element("h2", group), ...found);
  routes.append(element("h2", "schemas"));
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    const shown = element("details", "", element("summary", name), element("p", schema.description), fields(api, schema));
    routes.append(shown);
  }
}

show().catch((error) => { document.getElementById("status").textContent = `The document cannot be read: ${error.message}`; });
