// Validates an AsyncAPI document with the official parser: node validate.mjs FILE
import { readFile } from 'node:fs/promises';
import { DiagnosticSeverity, Parser } from '@asyncapi/parser';

const [file] = process.argv.slice(2);
const { document, diagnostics } = await new Parser().parse(await readFile(file, 'utf8'), { source: file });
const worst = diagnostics.filter(({ severity }) => severity <= DiagnosticSeverity.Warning);
for (const { range, path, message } of worst) {
  console.error(`${file}:${range.start.line + 1}: ${message} (${path.join('.')})`);
}
process.exitCode = document && !worst.length ? 0 : 1;
