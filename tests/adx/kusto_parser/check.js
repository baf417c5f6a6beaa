// Microsoft's own KQL parser reads queries and management commands, with a schema loaded.
//
// In (standard input): [{"database": "Logs", "tables": {"T": "(a: long)"}, "functions": [["F", "(x: long)", "{ body }"]],
//                        "views": {"V": ["(a: long)", "query"]}, "texts": {"name": "text"}}]
// Out, a line for each of them, as soon as it is known:
//     {"name": {"kind": "Query", "problems": [{"code", "severity", "message", "near"}], "columns": ["a:long"]}}
"use strict";
const fs = require("node:fs");
require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");

const { KustoCode, GlobalState, Symbols, Syntax } = globalThis.Kusto.Language;
const { System } = globalThis;

function items(list) {
  const found = [];
  for (let index = 0; list && index < list.Count; index += 1) {
    found.push(list.getItem ? list.getItem(index) : System.Array.getItem(list, index));
  }
  return found;
}

/** The state of a server that has just this database. */
function server({ database, tables = {}, functions = [], views = {} }) {
  const symbols = [
    ...Object.entries(tables).map(([name, schema]) => new Symbols.TableSymbol.$ctor7(name, schema, "")),
    ...Object.entries(views).map(
      ([name, [schema, query]]) => new Symbols.MaterializedViewSymbol.$ctor3(name, schema, query, ""),
    ),
    ...functions.map(([name, parameters, body]) => new Symbols.FunctionSymbol.$ctor16(name, parameters, body, "")),
  ];
  const state = new Symbols.DatabaseSymbol.$ctor3(database, null, symbols, false);
  for (const symbol of symbols) {
    if (!items(state.Members).includes(symbol)) throw new Error(`the parser did not take ${symbol.Name}`);
  }
  return GlobalState.Default.WithDatabase(state);
}

/** A command that the parser does not know gives no diagnostic: only its node in the tree tells. */
function unknownCommands(code) {
  const found = [];
  Syntax.SyntaxElement.WalkNodes(code.Syntax, (node) => {
    const kind = System.Enum.toString(Syntax.SyntaxKind, node.Kind);
    if (kind === "UnknownCommand" || kind === "PartialCommand" || kind === "BadCommand") {
      found.push({ code: kind, severity: "Error", message: "this command is not known", near: node.toString().slice(0, 60) });
    }
  });
  return found;
}

function check(text, state) {
  const code = KustoCode.ParseAndAnalyze(text, state);
  const problems = items(code.GetDiagnostics()).map((found) => ({
    code: found.Code,
    severity: found.Severity,
    message: found.Message,
    near: text.slice(found.Start, found.Start + Math.max(1, Math.min(found.Length, 60))),
  }));
  const columns = code.ResultType && items(code.ResultType.Columns).map((column) => `${column.Name}:${column.Type.Name}`);
  if (text.replace(/\/\/.*/g, "").trim() === "") {
    problems.push({ code: "Empty", severity: "Error", message: "there is no statement", near: text.slice(0, 60) });
  }
  return { kind: code.Kind, problems: [...problems, ...unknownCommands(code)], columns: columns || [] };
}

function answers(input) {
  const state = server(input);
  return Object.fromEntries(Object.entries(input.texts).map(([name, text]) => [name, check(text, state)]));
}

for (const input of JSON.parse(fs.readFileSync(0, "utf8"))) {
  fs.writeSync(1, `${JSON.stringify(answers(input))}\n`);
}
