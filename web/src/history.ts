// What has been read: a table, and the same as CSV.

import type { NumberFound } from "./reader.ts";

interface Row {
  readonly time: Date;
  readonly from: string;
  readonly found: NumberFound;
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

  add(from: string, found: NumberFound): void {
    this.rows = [{ time: new Date(), from, found }, ...this.rows].slice(0, MAX_ROWS);
    this.show();
  }

  clear(): void {
    this.rows = [];
    this.show();
  }

  /** The rows, the oldest first; boxes are in pixels of the picture. */
  csv(): string {
    const header = "time,from,number,confidence,left,top,width,height";
    const lines = this.rows.map(({ time, from, found: { number, confidence, box } }) =>
      [time.toISOString(), quoted(from), number, confidence.toFixed(4), ...box.map((v) => v.toFixed(1))].join(","),
    );
    return `${[header, ...lines.reverse()].join("\r\n")}\r\n`;
  }

  private show(): void {
    this.body.replaceChildren(
      ...this.rows.map(({ time, from, found: { number, confidence } }) => {
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
