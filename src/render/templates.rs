//! The templates, embedded, with one registry per kind of document: each kind has its own
//! escape. Strict mode: a name the view does not have is an error.

use std::sync::OnceLock;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderErrorReason,
};
use serde::Serialize;

use super::{RenderError, escape};

/// Layout only; the first of each kind is a whole document, the rest are parts.
pub(super) const MARKDOWN: &[(&str, &str)] = &[
    ("comment", include_str!("../../templates/comment.md.hbs")),
    ("summary", include_str!("../../templates/summary.md.hbs")),
    ("failure", include_str!("../../templates/failure.md.hbs")),
    ("head", include_str!("../../templates/head.md.hbs")),
    ("body", include_str!("../../templates/body.md.hbs")),
    ("footer", include_str!("../../templates/footer.md.hbs")),
    ("alert", include_str!("../../templates/alert.md.hbs")),
    ("inner", include_str!("../../templates/inner.md.hbs")),
    ("matrix", include_str!("../../templates/matrix.md.hbs")),
    ("leg", include_str!("../../templates/leg.md.hbs")),
];

pub(super) const HTML: &[(&str, &str)] = &[
    ("report", include_str!("../../templates/report.html.hbs")),
    ("failure", include_str!("../../templates/failure.html.hbs")),
    ("index", include_str!("../../templates/index.html.hbs")),
    ("style", include_str!("../../templates/style.css")),
    ("head", include_str!("../../templates/head.html.hbs")),
    ("forest", include_str!("../../templates/forest.html.hbs")),
    ("rows", include_str!("../../templates/rows.html.hbs")),
    ("pair", include_str!("../../templates/pair.html.hbs")),
    ("footer", include_str!("../../templates/footer.html.hbs")),
];

/// A kind of document.
pub(super) struct Templates {
    registry: Handlebars<'static>,
}

impl Templates {
    /// Markdown, parsed once: text is escaped for a paragraph or a table cell; `{{html x}}` is for the
    /// inside of an HTML element.
    ///
    /// # Errors
    /// A template does not parse.
    pub(super) fn markdown() -> Result<&'static Self, RenderError> {
        static ONCE: OnceLock<Templates> = OnceLock::new();
        if let Some(ready) = ONCE.get() {
            return Ok(ready);
        }
        let mut registry = registry(MARKDOWN, escape::markdown)?;
        registry.register_helper("html", escaped(escape::html_in_comment));
        registry.register_helper("code", escaped(escape::markdown_code));
        registry.register_helper("htmlcode", escaped(escape::html_code));
        Ok(ONCE.get_or_init(|| Self { registry }))
    }

    /// HTML.
    ///
    /// # Errors
    /// A template does not parse.
    pub(super) fn html() -> Result<Self, RenderError> {
        Ok(Self {
            registry: registry(HTML, escape::html)?,
        })
    }

    /// Fills a template.
    ///
    /// # Errors
    /// The template asks for something the view does not have.
    pub(super) fn render(
        &self,
        id: &'static str,
        view: &impl Serialize,
    ) -> Result<String, RenderError> {
        let text = self.registry.render(id, view);
        text.map_err(|source| RenderError::Render {
            id,
            source: Box::new(source),
        })
    }
}

fn registry(
    templates: &'static [(&'static str, &'static str)],
    escape: fn(&str) -> String,
) -> Result<Handlebars<'static>, RenderError> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    registry.register_escape_fn(escape);
    for (id, text) in templates {
        let added = registry.register_template_string(id, text);
        added.map_err(|source| RenderError::Template {
            id,
            source: Box::new(source),
        })?;
    }
    Ok(registry)
}

/// A helper that writes a text with an escape of its own: `{{html x}}` inside an HTML element of a
/// markdown document, `{{code x}}` inside a code element of a paragraph or table, `{{htmlcode x}}`
/// inside one of an HTML element.
fn escaped(escape: fn(&str) -> String) -> Box<dyn HelperDef + Send + Sync> {
    Box::new(
        move |helper: &Helper<'_>,
              _: &Handlebars<'_>,
              _: &Context,
              _: &mut RenderContext<'_, '_>,
              out: &mut dyn Output|
              -> HelperResult {
            let text = helper
                .param(0)
                .and_then(|param| param.value().as_str())
                .ok_or(RenderErrorReason::ParamNotFoundForIndex("escaped text", 0))?;
            out.write(&escape(text))?;
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The names the views have: every field is serialised, whatever its value.
    fn fields() -> BTreeSet<&'static str> {
        let source = include_str!("view/mod.rs");
        let field = |line: &'static str| {
            let (name, _) = line.strip_prefix("    pub(super) ")?.split_once(':')?;
            Some(name)
        };
        source.lines().filter_map(field).collect()
    }

    /// The names inside a template's braces.
    fn names(template: &'static str) -> BTreeSet<&'static str> {
        const WORDS: &[&str] = &[
            "if", "else", "each", "unless", "this", "html", "htmlcode", "true", "false",
        ];
        let tags = template
            .split("{{")
            .skip(1)
            .filter_map(|rest| rest.split("}}").next());
        tags.filter(|tag| !tag.starts_with('>'))
            .flat_map(|tag| tag.split(|c: char| !(c.is_alphanumeric() || "_@".contains(c))))
            .filter(|name| !name.is_empty() && !name.starts_with('@') && !WORDS.contains(name))
            .collect()
    }

    /// What a template gets beside the view.
    const PARAMETERS: [&str; 2] = ["marked", "with_scenario"];

    #[test]
    fn every_name_in_a_template_is_a_field_of_the_view() {
        let fields = fields();
        for (id, template) in MARKDOWN.iter().chain(HTML) {
            for name in names(template) {
                let known = fields.contains(name) || PARAMETERS.contains(&name);
                assert!(known, "{id}: {name}");
            }
        }
    }

    #[test]
    fn every_field_of_the_view_is_in_a_template() {
        let templates = MARKDOWN.iter().chain(HTML);
        let used: BTreeSet<&str> = templates.flat_map(|(_, text)| names(text)).collect();
        let unused: Vec<_> = fields()
            .into_iter()
            .filter(|name| !used.contains(name))
            .collect();
        assert_eq!(unused, Vec::<&str>::new());
    }

    #[test]
    fn only_text_that_is_clean_by_construction_is_written_unescaped() {
        const CLEAN: &[&str] = &[
            "kitt_marker",
            "key_marker",
            "state",
            "id",
            "url",
            "path",
            "place",
            "fence",
            "text",
        ];
        for (id, template) in MARKDOWN.iter().chain(HTML) {
            for raw in template.split("{{{").skip(1) {
                let name = raw.split("}}}").next().unwrap().rsplit('.').next().unwrap();
                assert!(CLEAN.contains(&name), "{id}: {name}");
            }
        }
        // A code block's text is clean in markdown only.
        assert!(
            HTML.iter()
                .all(|(_, template)| !template.contains("{{{text"))
        );
    }

    #[test]
    fn strict_mode_refuses_a_missing_name() {
        let templates = Templates::markdown().unwrap();
        let error = templates
            .render("footer", &serde_json::json!({}))
            .unwrap_err();
        assert!(matches!(error, RenderError::Render { id: "footer", .. }));
    }
}
