// The vectors that Python wrote, and how results are compared with them.

import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

/** Input and output of a case; their fields depend on the section. */
export interface Case {
  // biome-ignore lint: fields differ from section to section
  readonly input: any;
  readonly output: any;
}

/** Reads tests/golden/NAME of the project: cases by section. */
export function vectors(name: string): Record<string, Case[]> {
  return JSON.parse(readFileSync(new URL(`../../../tests/golden/${name}`, import.meta.url), "utf8"));
}

/** Asserts that two values are equal, numbers up to 2e-6, the precision of the file. */
export function assertClose(actual: unknown, expected: unknown, where: string): void {
  if (typeof expected === "number") {
    assert.equal(typeof actual, "number", where);
    const allowed = 2e-6 * Math.max(1, Math.abs(expected));
    assert.ok(Math.abs((actual as number) - expected) <= allowed, `${where}: ${actual} is not ${expected}`);
  } else if (expected !== null && typeof expected === "object") {
    const [a, e] = [actual as Record<string, unknown>, expected as Record<string, unknown>];
    assert.deepEqual(Object.keys(a).sort(), Object.keys(e).sort(), where);
    for (const key of Object.keys(e)) assertClose(a[key], e[key], `${where}.${key}`);
  } else {
    assert.equal(actual, expected, where);
  }
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
