// Splits a file of rows by day and account with Polars, and says what it took:
// a peer that `loadfleet bench --peers` measures beside loadfleet.
//
// usage: node polars-split.mjs plan.json
// plan: as for duckdb-copy.mjs, and "avro"; "out" must exist.
// Prints {version, wall, cpu, peak_rss, files, bytes, rows}.
//
// nodejs-polars has no partitioned sink: partitionBy, and one write per part.
// Its CSV and JSON writers do not pack, so gzip is Node's, of the same level as gzip's default.
import pl from 'nodejs-polars';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import zlib from 'node:zlib';

const plan = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const peak = () => Number(/^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;

const kind = plan.format.replace('+gzip', '');
const write = {
  parquet: (df, file) => df.writeParquet(file, { compression: 'snappy' }),
  avro: (df, file) => df.writeAvro(file, { compression: 'deflate' }),
  csv: (df, file) => df.writeCSV(file),
  json: (df, file) => df.writeJSON(file, { format: 'lines' }),
  'csv+gzip': (df, file) => fs.writeFileSync(file + '.gz', zlib.gzipSync(df.writeCSV())),
  'json+gzip': (df, file) => fs.writeFileSync(file + '.gz', zlib.gzipSync(df.writeJSON({ format: 'lines' }))),
}[plan.format];
if (!write) throw new Error(`no writer for ${plan.format}`);

// Wide decimals, times and free JSON stay texts: its reader would refuse or round them.
const types = { int64: pl.Int64, float64: pl.Float64, bool: pl.Bool };
const schema = Object.fromEntries(plan.schema.map((c) => [c.name, types[c.type] ?? pl.Utf8]));

const cpu = process.cpuUsage();
const started = process.hrtime.bigint();
const all = pl.scanJson(plan.source, { schema }).collectSync();
const parts = all.partitionBy([plan.date, plan.account], false, true);
let rows = 0;
for (const part of parts) {
  const [day, account] = [part.getColumn(plan.date).get(0), part.getColumn(plan.account).get(0)];
  const dir = path.join(plan.out, `${plan.date}=${day}`);
  fs.mkdirSync(dir, { recursive: true });
  write(part, path.join(dir, `${encodeURIComponent(account)}.${kind}`));
  rows += part.height;
}
const wall = Number(process.hrtime.bigint() - started) / 1e9;
const used = process.cpuUsage(cpu);
const peakRSS = peak();

const files = fs.readdirSync(plan.out, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
const bytes = files.reduce((sum, f) => sum + fs.statSync(path.join(f.parentPath, f.name)).size, 0);
const version = createRequire(import.meta.url)('nodejs-polars/package.json').version;
console.log(JSON.stringify({
  version: `nodejs-polars ${version}`, wall, cpu: (used.user + used.system) / 1e6, peak_rss: peakRSS, files: files.length, bytes, rows,
}));
