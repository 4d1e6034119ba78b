// The metadata of an ONNX file, which ONNX Runtime does not show in the browser: field 14 of the protobuf ModelProto.

const METADATA_FIELD = 14;

/** Returns the metadata of an ONNX file; null where the bytes are no protobuf message. */
export function onnxMetadata(bytes: Uint8Array): Map<string, string> | null {
  const text = new TextDecoder();
  const found = new Map<string, string>();
  for (const [field, content] of fields(bytes)) {
    if (field === null) return null;
    if (field !== METADATA_FIELD || !content) continue;
    const entry = new Map([...fields(content)].map(([key, value]) => [key, text.decode(value ?? new Uint8Array())]));
    found.set(entry.get(1) ?? "", entry.get(2) ?? "");
  }
  return found;
}

/** Yields number and content of each field of a message; the number is null where the message is damaged. */
function* fields(bytes: Uint8Array): Generator<[field: number | null, content?: Uint8Array]> {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      if (byte === undefined || factor > 2 ** 49) return NaN;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const [field, kind] = [Math.floor(key / 8), key % 8];
    const length = kind === 2 ? varint() : { 1: 8, 5: 4 }[kind];
    if (kind === 0) {
      if (Number.isNaN(varint())) return yield [null];
      yield [field];
    } else if (length === undefined || !(at + length <= bytes.length)) {
      return yield [null];
    } else {
      yield [field, bytes.subarray(at, (at += length))];
    }
  }
}
