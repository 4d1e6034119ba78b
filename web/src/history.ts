// What has been read: a table, and the same as CSV.

import type { NumberFound } from "./reader.ts";

export interface Row {
  readonly time: Date;
  readonly from: string;
  readonly number: string;
  readonly confidence: number;
}

/** Rows are added in front; the oldest of more than this many are dropped. */
const MAX_ROWS = 500;

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });

export class History {
  private rows: readonly Row[] = [];

  constructor(
    private readonly body: HTMLElement,
    private readonly changed: (isEmpty: boolean) => void,
  ) {}

  add(from: string, { number, confidence }: NumberFound): void {
    this.rows = [{ time: new Date(), from, number, confidence }, ...this.rows].slice(0, MAX_ROWS);
    this.show();
  }

  clear(): void {
    this.rows = [];
    this.show();
  }

  /** The rows, the oldest first. */
  csv(): string {
    const header = "time,from,number,confidence";
    const lines = this.rows.map(
      (row) => `${row.time.toISOString()},${quoted(row.from)},${row.number},${row.confidence.toFixed(4)}`,
    );
    return `${[header, ...lines.reverse()].join("\r\n")}\r\n`;
  }

  private show(): void {
    this.body.replaceChildren(
      ...this.rows.map(({ number, confidence, from, time }) => {
        const row = document.createElement("tr");
        const texts = [number, `${Math.round(confidence * 100)}%`, from, CLOCK.format(time)];
        row.append(...texts.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
        return row;
      }),
    );
    this.changed(!this.rows.length);
  }
}

/** A field of CSV. A leading sign is not left to a spreadsheet as a formula. */
export function quoted(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
