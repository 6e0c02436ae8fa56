// The same request as code: for a shell, for our client, and for the library requests.

/** Characters of a request that a shell takes; a longer one has to be in a file. */
const LONG = 20000;
/** JSON as a Python literal: three words differ, and strings may have escapes that Python does not know. */
const WORDS = { true: "True", false: "False", null: "None" };

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const python = (json) => json.replace(/"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b/g, (word) => WORDS[word] ?? JSON.stringify(JSON.parse(word)));

/** What is sent: {text, type, file}; a file has a name instead of a text. */
export function code({ text, type, file }, { url, name, user }) {
  const long = text !== undefined && text.length > LONG;
  const stored = file ?? (long ? (type === "text/csv" ? "request.csv" : "request.json") : null);
  return { curl: curl(text, type, stored, url, user), client: client(text, type, stored, url, name, user), python: requests(text, type, stored, url, user) };
}

function curl(text, type, stored, url, user) {
  const data = stored ? `--data-binary ${quoted(`@${stored}`)}` : `--data-raw ${quoted(text)}`;
  return `curl ${user ? `-u ${quoted(user)} ` : ""}-X POST ${quoted(url)} \\\n  -H 'Content-Type: ${type}' \\\n  ${data}`;
}

/** The body as an expression of Python. */
function literal(text, type, stored) {
  if (stored) return `open(${JSON.stringify(stored)}, "rb").read()`;
  if (type === "text/csv") return JSON.stringify(text);
  try { JSON.parse(text); } catch { return "...  # the request is not valid JSON"; }
  return python(text);
}

function client(text, type, stored, url, name, user) {
  const { origin } = new URL(url);
  const raw = stored !== null || type === "text/csv";
  return `# needs the package model-deployment-client
from model_deployment.client import Client

data = ${literal(text, type, stored)}
client = Client(${JSON.stringify(origin)}${user ? `, user=${JSON.stringify(user)}, password="PASSWORD"` : ""})
predictions = client.predict(${JSON.stringify(name)}, data${raw ? `, content_type="${type}"` : ""})
print(predictions.to_list(), predictions.request_id)`;
}

function requests(text, type, stored, url, user) {
  const raw = stored !== null || type === "text/csv";
  return `import requests

body = ${literal(text, type, stored)}
answer = requests.post(
    ${JSON.stringify(url)},
    ${raw ? `data=body,\n    headers={"Content-Type": "${type}"},` : "json=body,"}${user ? `\n    auth=(${JSON.stringify(user)}, "PASSWORD"),` : ""}
)
answer.raise_for_status()
print(answer.json()["predictions"])`;
}
