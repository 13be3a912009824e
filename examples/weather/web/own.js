// The panel in which one writes: a form, and commands that do the same.

export class OwnPlace {
  constructor() {
    this.form = document.getElementById("own");
    this.mqttPort = 1883;
    this.form.addEventListener("input", () => this.render());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.render();
  }

  setMqttPort(port) {
    this.mqttPort = port;
    this.render();
  }

  get id() {
    const plain = this.form.elements.name.value.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
    return plain.replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "my-place";
  }

  get record() {
    const { name, temperature, weather } = this.form.elements;
    return { name: name.value, temperature: temperature.valueAsNumber || 0, weather: weather.value };
  }

  async send() {
    const answer = document.getElementById("own-answer");
    try {
      const response = await fetch(`/Weather/${this.id}`, {
        method: "PUT",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(this.record),
      });
      answer.textContent = response.ok
        ? `PUT /Weather/${this.id} → ${response.status}. It is on disk, and on every screen.`
        : `PUT /Weather/${this.id} → ${response.status}: ${await response.text()}`;
    } catch {
      answer.textContent = "The server does not answer. Is it running?";
    }
  }

  render() {
    const list = document.getElementById("commands");
    const commands = this.commands();
    while (list.children.length < commands.length) list.append(item());
    commands.forEach(([title, text], index) => {
      const [heading, pre] = list.children[index].querySelectorAll("h3, pre");
      heading.textContent = title;
      pre.textContent = text;
      list.children[index].querySelector("button").setAttribute("aria-label", `Copy: ${title}`);
    });
  }

  commands() {
    const url = `${location.origin}/Weather/${this.id}`;
    const where = `-h ${location.hostname} -p ${this.mqttPort}`;
    const json = quoted(JSON.stringify(this.record));
    return [
      ["Write it over REST", `curl -X PUT ${url} \\\n  -H 'Content-Type: application/json' \\\n  -d ${json}`],
      ["Write it over MQTT: a retained message is the record",
        `mosquitto_pub ${where} -r \\\n  -t Weather/${this.id} \\\n  -m ${json}`],
      ["Watch all places over MQTT", `mosquitto_sub ${where} -v -t 'Weather/+'`],
      ["Watch one over HTTP, as this page does",
        `curl -N -H 'Accept: text/event-stream' \\\n  ${location.origin}/Weather/seattle`],
      ["Take it away again", `curl -X DELETE ${url}`],
    ];
  }
}

function item() {
  const element = document.createElement("li");
  const heading = document.createElement("h3");
  const pre = document.createElement("pre");
  pre.tabIndex = 0;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    button.textContent = (await copy(pre)) ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  element.append(heading, pre, button);
  return element;
}

// Without the right to the clipboard (plain http on another host) the text is selected.
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return false;
  }
}

// A word for a shell.
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
