// The panel: how the nodes are, once a second, and a button for each of what can be done.

const byId = (id) => document.getElementById(id);

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const buttons = [
  ["kill", "Kill"], ["stop", "Stop"], ["start", "Start"], ["pause", "Pause"], ["go-on", "Go on"], ["cut", "Cut off"], ["heal", "Heal"],
  ["slow", "Slow disk", { ms: 200 }], ["hang", "Hang disk"], ["let-go", "Let disk go"], ["lose", "Lose disk"], ["rejoin", "Rejoin"],
];

async function act(fault) {
  const answer = await fetch("dev/faults", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(fault) });
  byId("said").textContent = answer.ok ? `Done: ${fault.do} ${fault.node || "all"}${fault.to ? " to " + fault.to : ""}` : (await answer.text()).trim();
  if (answer.ok) await look();
}

function say(error) {
  byId("said").textContent = "raftkv dev does not answer: " + error.message;
}

const cards = new Map();

function card(node) {
  const section = make("section", "", { "aria-label": node.node });
  const title = make("h2", node.node);
  const state = make("p", "");
  const row = make("p", "");
  for (const [verb, name, more] of buttons) {
    const button = make("button", name, { type: "button", "aria-label": `${name}: ${node.node}` });
    button.addEventListener("click", () => act({ do: verb, node: node.node, ...more }).catch(say));
    row.append(button, " ");
  }
  section.append(title, state, row, make("a", "Its page", { href: node.page, target: "_blank", rel: "noopener" }));
  byId("nodes").append(section);
  for (const id of ["from", "to"]) byId(id).append(make("option", node.node));
  return { state };
}

async function look() {
  const answer = await fetch("dev/state");
  const now = await answer.json();
  for (const node of now.nodes) {
    if (!cards.has(node.node)) cards.set(node.node, card(node));
    const text = (node.leads ? "Leads. " : "") + (node.state === "gone" ? "Its process does not exist." : node.state === "runs" ? "It runs." : node.state === "paused" ? "It is paused." : node.state.replace("its disk slow", "its disk is slow").replace("its", "Its") + ".");
    if (cards.get(node.node).state.textContent !== text) cards.get(node.node).state.textContent = text;
  }
  byId("cuts").textContent = now.cuts && now.cuts.length ? "Cut: " + now.cuts.map((way) => way.replace(">", " is not heard by ")).join(", ") + "." : "All ways are open.";
}

byId("way").addEventListener("submit", (event) => {
  event.preventDefault();
  act({ do: "cut", node: byId("from").value, to: byId("to").value }).catch(say);
});
byId("heal").addEventListener("click", () => act({ do: "heal" }).catch(say));

look().catch(say);
setInterval(() => look().catch(say), 1000);
