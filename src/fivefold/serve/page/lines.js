// Series of answers: one line per series and channel, with what is known of each of its steps.

// For each series `{key, steps, channels: {name: {value, lower, upper, smooth, std}}, fan: {name: [draw][step]}}`.
export function seriesOf(model, { impute, denoise, generate }) {
  const { schema } = model;
  const parts = impute.rows ? splitRows(schema, impute.rows) : splitValues(impute);
  const answers = { value: impute, lower: impute.lower, upper: impute.upper, smooth: denoise, std: denoise.std };
  const names = schema.channels.columns.map(({ name }) => name);
  const wholes = mapped(names, (name) => mapped(Object.keys(answers), (role) => columnOf(schema, answers[role], name)));
  return parts.map(({ key, from, to, steps }) => ({
    key,
    steps,
    channels: mapped(names, (name) => mapped(Object.keys(answers), (role) => wholes[name][role].slice(from, to))),
    fan: mapped(names, (name) => fanOf(schema, generate, key, name)),
  }));
}

function mapped(names, of) {
  return Object.fromEntries(names.map((name) => [name, of(name)]));
}

function splitRows({ time, ids }, rows) {
  const found = [];
  rows.forEach((row, index) => {
    const key = ids ? String(row[ids]) : "";
    if (found.at(-1)?.key !== key || !found.length) found.push({ key, from: index, to: index, steps: [] });
    found.at(-1).to = index + 1;
    found.at(-1).steps.push(time ? String(row[time]) : String(found.at(-1).steps.length));
  });
  return found;
}

function splitValues({ shape: [count, length] }) {
  const steps = Array.from({ length }, (_, step) => String(step));
  return Array.from({ length: count }, (_, index) => ({ key: String(index), from: index * length, to: (index + 1) * length, steps }));
}

// All steps of all series of a channel, one after the other.
function columnOf({ channels: { columns } }, answer, name) {
  if (answer.rows) return answer.rows.map((row) => row[name]);
  const channel = columns.findIndex((column) => column.name === name);
  return answer.values.flat().map((step) => (Array.isArray(step) ? step[channel] : step));
}

function fanOf(schema, generate, key, name) {
  const { ids } = schema;
  if (generate.rows) {
    const draws = new Map();
    for (const row of generate.rows) {
      if (ids && String(row[ids]) !== key) continue;
      if (!draws.has(row.sample)) draws.set(row.sample, []);
      draws.get(row.sample).push(row[name]);
    }
    return [...draws.values()];
  }
  const channel = schema.channels.columns.findIndex((column) => column.name === name);
  return generate.values.map((draw) => draw[Number(key)].map((step) => (Array.isArray(step) ? step[channel] : step)));
}

// The given shares of draws that lie below, for each step.
export function quantiles(draws, shares) {
  const steps = draws[0]?.length ?? 0;
  return Array.from({ length: steps }, (_, step) => {
    const sorted = draws.map((draw) => draw[step]).sort((one, other) => one - other);
    return shares.map((share) => sorted[Math.round(share * (sorted.length - 1))]);
  });
}
