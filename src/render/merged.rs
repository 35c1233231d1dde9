//! The reports of several jobs as one: one comment, one summary, a page that leads to each.

use super::{
    Documents, Form, Leg, Posted, RenderError, Weight,
    budget::{self, SUMMARY},
    sections::{bare, compose, index},
};
use crate::ids::ReportKey;

/// Puts the documents of all jobs of a matrix together. Each comes with the folder its own report
/// is in, relative to where these documents go. Sections of jobs that are not among them go from
/// the comment.
///
/// # Errors
/// A fault in kitt's own templates.
pub fn merged(key: &ReportKey, jobs: &[(String, Documents)]) -> Result<Documents, RenderError> {
    let mut own: Vec<Leg> = Vec::new();
    let mut places = Vec::new();
    let mut weight = Weight::Quiet;
    for (folder, documents) in jobs {
        weight = weight.max(documents.posted.weight);
        if let Form::Legs { own: legs, .. } = &documents.posted.form {
            places.extend(legs.iter().map(|_| place(folder)));
            own.extend(legs.iter().cloned());
        }
    }
    let comment = compose(key, own.clone())?.body;
    let shown = bare(&comment);
    let index = index(&own, &places)?;
    let worst = jobs
        .iter()
        .max_by_key(|(_, documents)| documents.posted.weight);
    Ok(Documents {
        summary: summary(&shown, jobs),
        check_summary: shown,
        report_html: index.html,
        title: index.title,
        badge: worst.map_or_else(String::new, |(_, documents)| documents.badge.clone()),
        comment,
        posted: Posted {
            key: key.clone(),
            weight,
            form: Form::Legs { own, all: true },
        },
    })
}

/// The table of all jobs, then each job's own summary, or its shorter one where they do not all
/// fit; in the end the comment's text says it.
fn summary(shown: &str, jobs: &[(String, Documents)]) -> String {
    let table = shown.split("\n<details").next().unwrap_or_default();
    let put = |pick: fn(&Documents) -> &str| {
        let mut text = table.trim_end().to_owned();
        for (_, documents) in jobs {
            let Some(leg) = documents.posted.form.states().first().copied() else {
                continue;
            };
            let name = leg.section.as_ref().map_or("", |name| name.as_str());
            text.push_str("\n\n---\n\n## ");
            text.push_str(&super::markdown(name));
            text.push_str("\n\n");
            text.push_str(pick(documents).trim());
        }
        text.push('\n');
        text
    };
    let sizes: [fn(&Documents) -> &str; 2] = [|one| &one.summary, |one| &one.check_summary];
    let mut texts = sizes.into_iter().map(put);
    texts
        .find(|text| budget::fits(SUMMARY, text))
        .unwrap_or_else(|| shown.to_owned())
}

/// The report in a folder as a link: whatever could end an attribute or lead elsewhere is encoded.
fn place(folder: &str) -> String {
    let letter = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    let letters: Vec<String> = folder.bytes().map(letter).collect();
    format!("./{}/report.html", letters.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_beside_the_page() {
        assert_eq!(place("h100 · fp8"), "./h100%20%C2%B7%20fp8/report.html");
        assert_eq!(place("\"><x"), "./%22%3E%3Cx/report.html");
        assert_eq!(place("javascript:x"), "./javascript%3Ax/report.html");
    }
}
