// A backend of StatsD's that adds each flush to a file, as a line of JSON.
const fs = require("fs");

exports.init = (_, config, events) => {
  events.on("flush", (_, metrics) => {
    const { counters, gauges, timer_data: timers } = metrics;
    fs.appendFileSync(config.file, JSON.stringify({ counters, gauges, timers }) + "\n");
  });
  return true;
};
