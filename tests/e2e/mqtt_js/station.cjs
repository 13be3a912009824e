// MQTT.js for tests in Python: one JSON command a line on standard input, one JSON event a
// line on standard output. Every command and event names its client.
"use strict";

const fs = require("node:fs");
const readline = require("node:readline");
const mqtt = require("mqtt");

const clients = new Map();

function tell(client, event, more = {}) {
  process.stdout.write(JSON.stringify({ client, event, ...more }) + "\n");
}

function told(properties = {}) {
  const correlation = properties.correlationData;
  return {
    ...properties,
    ...(correlation ? { correlationData: Buffer.from(correlation).toString("latin1") } : {}),
    userProperties: Object.entries(properties.userProperties ?? {}).flatMap(([name, value]) =>
      [value].flat().map((one) => [name, one]),
    ),
  };
}

function meant(properties) {
  if (!properties) return undefined;
  const found = { ...properties };
  if (found.correlationData) found.correlationData = Buffer.from(found.correlationData, "latin1");
  if (found.userProperties) {
    const pairs = {};
    for (const [name, value] of found.userProperties) (pairs[name] ??= []).push(value);
    found.userProperties = pairs;
  }
  return found;
}

const commands = {
  connect({ client: name, url, options, ca }) {
    const more = ca ? { ca: fs.readFileSync(ca) } : {};
    const client = mqtt.connect(url, { ...options, ...more, reconnectPeriod: 0 });
    clients.set(name, client);
    client.on("connect", (connack) =>
      tell(name, "connected", { present: connack.sessionPresent }),
    );
    client.on("message", (topic, payload, packet) =>
      tell(name, "message", {
        topic,
        payload: payload.toString("latin1"),
        qos: packet.qos,
        retain: packet.retain,
        properties: told(packet.properties),
      }),
    );
    client.on("error", (error) => tell(name, "failed", { why: String(error) }));
  },

  subscribe({ client: name, filter, options }) {
    clients.get(name).subscribe(filter, options, (error, granted) => {
      if (error) tell(name, "failed", { why: String(error) });
      else tell(name, "subscribed", { codes: granted.map((one) => one.qos) });
    });
  },

  publish({ client: name, topic, payload, options, properties }) {
    const all = { ...options, properties: meant(properties) };
    clients.get(name).publish(topic, Buffer.from(payload, "latin1"), all, (error) => {
      if (error) tell(name, "failed", { why: String(error) });
      else tell(name, "published");
    });
  },

  end({ client: name }) {
    clients.get(name).end(false, {}, () => tell(name, "ended"));
    clients.delete(name);
  },
};

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
});
lines.on("close", () => process.exit(0));
