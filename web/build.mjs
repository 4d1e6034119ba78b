// Builds the page into the Python package, from where `seqdigits demo` serves it: node build.mjs

import { createHash } from "node:crypto";
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const OUT = new URL("../seqdigits/demo_page/", import.meta.url);
const RUNTIME = "runtime.wasm.gzip"; // no .gz: some servers declare such files as compressed, and the browser unpacks them

const sha256 = (content) => createHash("sha256").update(content).digest("hex");
const out = (name) => new URL(name, OUT);
const listed = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(folder.pathname.length).replace(/^\/+/, ""))
    .sort();

rmSync(OUT, { recursive: true, force: true });
cpSync(new URL("static/", import.meta.url), OUT, { recursive: true, filter: (name) => !name.endsWith("README.md") });
const runtime = gzipSync(readFileSync("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"), { level: 9 });
writeFileSync(out(RUNTIME), runtime);

const options = {
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  conditions: ["browser"],
  legalComments: "inline",
  logLevel: "warning",
  outdir: OUT.pathname,
};
const file = { url: RUNTIME, bytes: runtime.length, sha256: sha256(runtime) };
await build({ ...options, entryPoints: ["src/page.ts", "src/worker.ts"], define: { RUNTIME: JSON.stringify(file) } });

const files = listed(OUT).filter((name) => name !== RUNTIME && !name.endsWith(".txt"));
const version = sha256(files.map((name) => sha256(readFileSync(out(name)))).join()).slice(0, 16);
const define = {
  PAGE_FILES: JSON.stringify(["./", ...files.filter((name) => name !== "index.html")]),
  PAGE_VERSION: JSON.stringify(version),
};
await build({ ...options, entryPoints: ["src/service_worker.ts"], define });

// tests/cli/test_demo.py compares this with the sources, to notice a page that was not built again.
const sources = ["build.mjs", "package-lock.json", ...["src", "static"].flatMap((folder) =>
  listed(new URL(`${folder}/`, import.meta.url)).map((name) => `${folder}/${name}`),
)];
const lines = sources.map((name) => `${sha256(readFileSync(new URL(name, import.meta.url)))}  ${name}\n`);
writeFileSync(out("sources.sha256"), lines.join(""));
