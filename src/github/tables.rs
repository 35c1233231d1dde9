//! What kitt asks of GitHub, for the documentation and for the check of its requests.

use super::{
    operations::{Access, MISSING_ON_SERVER, OPERATIONS, Operation},
    permissions::{FEATURES, Feature},
};

/// Every request as a line of method and route.
pub fn routes() -> String {
    let line = |operation: &&Operation| format!("{} {}\n", operation.method, operation.route);
    let lines: String = OPERATIONS.iter().map(line).collect();
    lines.trim_end().to_owned()
}

/// Every request, the right it needs and what it serves, as a Markdown table.
pub fn operations_table() -> String {
    let row = |operation: &&'static Operation| {
        let serves = |feature: &&&Feature| feature.operations.contains(operation);
        let features = FEATURES.iter().filter(serves);
        let names: Vec<&str> = features.map(|feature| feature.name).collect();
        let Access { permission, level } = operation.access;
        format!(
            "| `{} {}` | `{permission}: {level}` | {} |\n",
            operation.method,
            operation.route,
            names.join("; ")
        )
    };
    let rows: String = OPERATIONS.iter().map(row).collect();
    format!(
        "| request | right | for |\n|---|---|---|\n{}",
        rows.trim_end()
    )
}

/// Every feature and the rights it needs, as a Markdown table.
pub fn features_table() -> String {
    let row = |feature: &&Feature| {
        let rights = feature.rights();
        let rights: Vec<String> = rights
            .iter()
            .map(|(permission, level)| format!("`{permission}: {level}`"))
            .collect();
        let rights = if rights.is_empty() {
            "none".to_owned()
        } else {
            rights.join(", ")
        };
        format!("| {} | {} | {rights} |\n", feature.name, feature.setting)
    };
    let rows: String = FEATURES.iter().map(row).collect();
    format!(
        "| feature | turned on by | rights |\n|---|---|---|\n{}",
        rows.trim_end()
    )
}

/// What the newest Enterprise Server lacks, as a Markdown table or a sentence.
pub fn missing_table() -> String {
    if MISSING_ON_SERVER.is_empty() {
        return "None of kitt's requests is missing there.".to_owned();
    }
    let row = |operation: &&Operation| format!("| `{} {}` |\n", operation.method, operation.route);
    let rows: String = MISSING_ON_SERVER.iter().map(row).collect();
    format!("| request |\n|---|\n{}", rows.trim_end())
}
