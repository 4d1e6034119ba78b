// Builds the tests of a folder and runs them: node test.mjs tests

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { build } from "esbuild";

const folder = process.argv[2] ?? "tests";
const names = readdirSync(folder).filter((name) => name.endsWith(".test.ts"));
const options = { bundle: true, platform: "node", format: "esm", packages: "external", outExtension: { ".js": ".mjs" } };
await build({ ...options, entryPoints: names.map((name) => `${folder}/${name}`), outdir: `build/${folder}` });
const files = names.map((name) => `build/${folder}/${name.replace(/\.ts$/, ".mjs")}`);
process.exit(spawnSync(process.execPath, ["--test", ...files], { stdio: "inherit" }).status ?? 1);
