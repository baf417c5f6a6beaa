// Talks to the local hub with the official JavaScript client and prints what it saw as one JSON object.
// argv: connection string, name of the event hub.
"use strict";
const { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition, latestEventPosition } = require("@azure/event-hubs");

const [connection, hub] = process.argv.slice(2);
const LIMIT_MS = 20000;

/** Read until `enough(events)` holds; resolves with the events. */
function read(consumer, startPosition, enough, onReady) {
  return new Promise((resolve, reject) => {
    const events = [];
    const timer = setTimeout(() => reject(new Error(`only ${events.length} events came`)), LIMIT_MS);
    const subscription = consumer.subscribe(
      {
        processEvents: async (batch, context) => {
          for (const event of batch) events.push({ ...event, partitionId: context.partitionId });
          if (enough(events)) {
            clearTimeout(timer);
            await subscription.close();
            resolve(events);
          }
        },
        processError: async (error) => {
          clearTimeout(timer);
          reject(error);
        },
      },
      { startPosition, maxWaitTimeInSeconds: 1, maxBatchSize: 100 },
    );
    if (onReady) onReady(() => events);
  });
}

function text(body) {
  return Buffer.isBuffer(body) ? body.toString() : body;
}

async function main() {
  const producer = new EventHubProducerClient(connection, hub);
  const consumer = new EventHubConsumerClient("$Default", connection, hub);
  const result = {};
  const properties = await producer.getEventHubProperties();
  result.properties = { name: properties.name, partitionIds: properties.partitionIds };

  // Written from Python before we began.
  const old = await read(consumer, earliestEventPosition, (events) => events.length >= 2);
  result.read = old.map((event) => ({
    size: event.body.length,
    text: text(event.body).slice(0, 20),
    properties: event.properties,
    partitionKey: event.partitionKey ?? null,
    sequenceNumber: event.sequenceNumber,
    offset: String(event.offset),
    enqueuedAt: event.enqueuedTimeUtc.getTime(),
    partitionId: event.partitionId,
  }));

  // From the latest position: send until the reader, which attaches in its own time, has seen something.
  let sending = true;
  const fresh = read(consumer, latestEventPosition, (events) => events.length >= 1).finally(() => (sending = false));
  for (let number = 0; sending; number += 1) {
    await producer.sendBatch([{ body: Buffer.from(`probe ${number}`) }]);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  result.fresh = (await fresh).map((event) => text(event.body));

  const batch = await producer.createBatch({ partitionKey: "user-7" });
  result.maxSizeInBytes = batch.maxSizeInBytes;
  for (let number = 0; number < 10; number += 1) {
    batch.tryAdd({ body: Buffer.from(`batch ${number}`), properties: { number, yes: true, text: "é" }, contentType: "text/plain" });
  }
  await producer.sendBatch(batch);
  await producer.sendBatch([{ body: Buffer.alloc(900000, "x") }], { partitionId: "1" });

  const partition = await producer.getPartitionProperties("1");
  result.partition = { isEmpty: partition.isEmpty, last: partition.lastEnqueuedSequenceNumber };
  await producer.close();
  await consumer.close();
  console.log(JSON.stringify(result));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
