//! Requests held against GitHub's own description of its API, where `scripts/github-spec.sh`
//! has put it.

use std::{fs, path::PathBuf, sync::LazyLock};

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::{Value, json};

use super::{call::Call, route::decode};

/// The description, read once; nothing where it is missing.
static DESCRIPTION: LazyLock<Option<Description>> = LazyLock::new(|| {
    let text = fs::read(file()?).unwrap();
    Some(Description::new(serde_json::from_slice(&text).unwrap()))
});

/// Whether there is a description to hold requests against.
pub fn described() -> bool {
    DESCRIPTION.is_some()
}

/// What is wrong with a request. Paths that the description lacks are wrong when it is said to
/// have them all.
pub(super) fn violations(call: &Call, all_paths: bool) -> Vec<String> {
    let Some(description) = DESCRIPTION.as_ref() else {
        return Vec::new();
    };
    if call.path == "/graphql" || call.path == "/api/graphql" {
        return Vec::new();
    }
    let found = description.violations(call, all_paths);
    let line = |why: String| format!("{} {}: {why}", call.method, call.path);
    found.into_iter().map(line).collect()
}

fn setting(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    value.map(PathBuf::from)
}

/// The newest one in the folder that the script writes to.
fn file() -> Option<PathBuf> {
    if let Some(file) = setting("KITT_TEST_GITHUB_SPEC") {
        return Some(file).filter(|file| file.is_file());
    }
    let home = || Some(setting("HOME")?.join(".cache"));
    let user = || Some(setting("XDG_CACHE_HOME").or_else(home)?.join("kitt-action"));
    let folder = setting("KITT_CACHE_DIR").or_else(user)?.join("github-spec");
    let files = fs::read_dir(folder).ok()?.flatten().map(|e| e.path());
    let described = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("github-") && name.ends_with(".json")
    };
    files.filter(described).max()
}

struct Description {
    document: Value,
    operations: Vec<Operation>,
    schemas: Schemas,
}

struct Operation {
    method: String,
    /// The parts of its path.
    template: Vec<String>,
    parameters: Vec<Parameter>,
    body: Option<Body>,
}

struct Parameter {
    name: String,
    /// `path` or `query`
    place: String,
    schema: Value,
}

struct Body {
    required: bool,
    index: SchemaIndex,
    schema: Value,
}

impl Description {
    fn new(mut document: Value) -> Self {
        nullable(&mut document, false);
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V7);
        compiler
            .add_resource("github.json", document.clone())
            .unwrap();
        let mut schemas = Schemas::new();
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if !["get", "post", "put", "patch", "delete"].contains(&method.as_str()) {
                    continue;
                }
                let of = |node: &Value| node["parameters"].as_array().cloned().unwrap_or_default();
                let parameters = of(item).into_iter().chain(of(operation));
                let pointer = format!("/paths/{}/{method}/requestBody", escaped(path));
                operations.push(Operation {
                    method: method.to_uppercase(),
                    template: path.split('/').skip(1).map(str::to_owned).collect(),
                    parameters: parameters.map(|p| parameter(&document, &p)).collect(),
                    body: body(&document, &pointer, &mut compiler, &mut schemas),
                });
            }
        }
        Self {
            document,
            operations,
            schemas,
        }
    }

    fn violations(&self, call: &Call, all_paths: bool) -> Vec<String> {
        let path = match call.path.strip_prefix("/repositories/") {
            Some(rest) => match rest.split_once('/') {
                Some((_, tail)) => format!("/repos/owner/repo/{tail}"),
                None => "/repos/owner/repo".to_owned(),
            },
            None => call.path.clone(),
        };
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let fits = |o: &&Operation| o.fits(&parts);
        let named = |o: &&Operation| o.template.iter().filter(|part| !is_name(part)).count();
        let of_path = self.operations.iter().filter(fits);
        let Some(best) = of_path.clone().max_by_key(named) else {
            let why = "GitHub's description has no such path".to_owned();
            return if all_paths { vec![why] } else { Vec::new() };
        };
        let mut same = of_path.filter(|o| o.template == best.template);
        match same.find(|operation| operation.method == call.method) {
            Some(operation) => self.check(operation, call, &parts),
            None if all_paths => vec!["GitHub's description has no such method here".to_owned()],
            None => Vec::new(),
        }
    }

    fn check(&self, operation: &Operation, call: &Call, parts: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        let known = |place: &str, name: &str| {
            let mut parameters = operation.parameters.iter();
            parameters.find(|p| p.place == place && p.name == name)
        };
        for (part, value) in operation.template.iter().zip(parts) {
            let name = part.trim_matches(['{', '}']);
            if let (true, Some(parameter)) = (is_name(part), known("path", name)) {
                found.extend(self.value(parameter, &decode(value)));
            }
        }
        for (name, value) in &call.query {
            match known("query", name) {
                Some(parameter) => found.extend(self.value(parameter, value)),
                None => found.push(format!("no query parameter {name}")),
            }
        }
        match (&operation.body, &call.body) {
            (None, Some(_)) => found.push("it takes no body".to_owned()),
            (Some(body), None) if body.required => found.push("it needs a body".to_owned()),
            (Some(body), Some(value)) => {
                if let Err(error) = self.schemas.validate(value, body.index) {
                    found.push(format!("{error:#}"));
                }
                self.unknown(&body.schema, value, "", &mut found);
            }
            (_, None) => {}
        }
        found
    }

    /// What is wrong with the value of a parameter.
    fn value(&self, parameter: &Parameter, value: &str) -> Option<String> {
        let schema = resolved(&self.document, &parameter.schema);
        let name = &parameter.name;
        if schema["type"] == "integer" && value.parse::<i64>().is_err() {
            return Some(format!("{name} is no integer: {value}"));
        }
        let words = schema["enum"].as_array()?;
        (!words.iter().any(|word| word == value)).then(|| format!("{name} cannot be {value}"))
    }

    /// GitHub ignores fields that it does not know; a client that sends one is mistaken.
    fn unknown(&self, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let schema = resolved(&self.document, schema);
        if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
            for value in values {
                self.unknown(items, value, &format!("{at}[]"), found);
            }
        }
        let properties = schema["properties"].as_object();
        let (Some(properties), Some(fields)) = (properties, value.as_object()) else {
            return;
        };
        for (name, value) in fields {
            match properties.get(name) {
                Some(schema) => self.unknown(schema, value, &format!("{at}.{name}"), found),
                None if schema.get("additionalProperties").is_some() => {}
                None => found.push(format!("the body has no field {at}.{name}")),
            }
        }
    }
}

impl Operation {
    fn fits(&self, parts: &[&str]) -> bool {
        let same =
            |(part, given): (&String, &&str)| (is_name(part) && !given.is_empty()) || part == given;
        let mut pairs = self.template.iter().zip(parts);
        let long = self.template.last().is_some_and(|last| {
            let name = last.trim_matches(['{', '}']);
            // These may have slashes.
            is_name(last) && ["path", "ref", "basehead"].contains(&name)
        });
        let lengths = parts.len() == self.template.len();
        (lengths || (long && parts.len() > self.template.len())) && pairs.all(same)
    }
}

fn is_name(part: &str) -> bool {
    part.starts_with('{')
}

fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

fn resolved<'a>(document: &'a Value, node: &'a Value) -> &'a Value {
    match node["$ref"].as_str() {
        Some(to) => resolved(document, document.pointer(&to[1..]).unwrap()),
        None => node,
    }
}

fn parameter(document: &Value, node: &Value) -> Parameter {
    let node = resolved(document, node);
    let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
    Parameter {
        name: text("name"),
        place: text("in"),
        schema: node["schema"].clone(),
    }
}

fn body(
    document: &Value,
    pointer: &str,
    compiler: &mut Compiler,
    schemas: &mut Schemas,
) -> Option<Body> {
    let node = document.pointer(pointer)?;
    let (at, node) = match node["$ref"].as_str() {
        Some(to) => (to[1..].to_owned(), resolved(document, node)),
        None => (pointer.to_owned(), node),
    };
    let schema = node.pointer("/content/application~1json/schema")?;
    // Braces of a path are not for the fragment of an address.
    let at = at.replace('{', "%7B").replace('}', "%7D");
    let at = format!("github.json#{at}/content/application~1json/schema");
    Some(Body {
        required: node["required"] == true,
        index: compiler.compile(&at, schemas).unwrap(),
        schema: schema.clone(),
    })
}

/// Turns `nullable` into what JSON Schema has for it. Examples are data, not schemas; where the
/// keys are names of fields, they mean nothing.
fn nullable(node: &mut Value, names: bool) {
    match node {
        Value::Array(items) => items.iter_mut().for_each(|item| nullable(item, false)),
        Value::Object(fields) => {
            if !names {
                fields.remove("example");
                fields.remove("examples");
            }
            for (key, value) in fields.iter_mut() {
                nullable(value, !names && key == "properties");
            }
            if !names && fields.get("nullable") == Some(&Value::Bool(true)) {
                fields.remove("nullable");
                let inner = node.take();
                *node = json!({"anyOf": [inner, {"type": "null"}]});
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
